//! TLVs of outbound v2 headers: what is passed on, dropped and added, byte for byte.

use std::net::SocketAddr;

use netlab::header::{named_client, named_destination, v1, v2, v2_local, v2_raw, v2_with_tlvs};
use netlab::{
    Backend, Client, Family, OFF, PORT, REQUIRE, Reply, Scene, assert_same_bytes, join, lab,
    swallow,
};

use crate::FOREWORD;

const PAYLOAD: &[u8] = b"payload";

/// An inbound header's TLVs, as a load balancer might send them: AWS's, a doubled custom one,
/// padding.
const AWS: &[u8] = b"\xEA\x00\x0d\x01vpce-0123abc";
const DOUBLE: &[u8] = b"\xE1\x00\x01a\xE1\x00\x01b";
const NOOP: &[u8] = b"\x04\x00\x03\0\0\0";

fn tlvs(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The named client's header with these TLVs.
fn header(family: Family, parts: &[&[u8]]) -> Vec<u8> {
    v2_with_tlvs(named_client(family), named_destination(family), &tlvs(parts))
}

/// Sends a header and payload, and returns all that the backend got.
fn through(scene: &Scene, number: usize, header: &[u8]) -> Vec<u8> {
    let mut client = scene.connect();
    client.send(&join(header, PAYLOAD));
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.backend.received(number)
}

/// CRC32C bit by bit, from its definition: reflected, polynomial 0x1EDC6F41.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = register & 1;
            register = (register >> 1) ^ (0x82F6_3B78 * carry);
        }
    }
    !register
}

/// The header with a checksum behind its TLVs.
fn with_checksum(family: Family, parts: &[&[u8]]) -> Vec<u8> {
    checked(named_client(family), named_destination(family), parts)
}

/// A header with a checksum between any two ends.
fn checked(client: SocketAddr, destination: SocketAddr, parts: &[&[u8]]) -> Vec<u8> {
    let with = |sum: [u8; 4]| {
        let behind = [&tlvs(parts), &b"\x03\x00\x04"[..], &sum].concat();
        v2_with_tlvs(client, destination, &behind)
    };
    with(crc32c(&with([0; 4])).to_be_bytes())
}

#[apply(both_families)]
fn tlvs_are_passed_on_in_order(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v2"]);
    let received = through(&scene, 0, &header(family, &[AWS, NOOP, DOUBLE]));
    assert_eq!(received, join(&header(family, &[AWS, DOUBLE]), PAYLOAD));
}

#[apply(both_families)]
fn tlvs_can_be_kept_back(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v2 --tlv-pass none"]);
    let received = through(&scene, 0, &header(family, &[AWS, DOUBLE]));
    assert_eq!(received, join(&header(family, &[]), PAYLOAD));
}

#[apply(both_families)]
fn tlvs_can_be_chosen_dropped_and_added(family: Family) {
    let flags = "--outbound v2 --tlv-pass 0xE1,0xEA --tlv-drop 234 \
                 --tlv-add authority=example.org --tlv-add 0xE5=text --tlv-add 0xE6=hex:00ff";
    let scene = FOREWORD.scene(family, &[REQUIRE, flags]);
    let received = through(&scene, 0, &header(family, &[AWS, DOUBLE, b"\x02\x00\x01x"]));
    let added = b"\x02\x00\x0bexample.org\xE5\x00\x04text\xE6\x00\x02\x00\xff";
    assert_eq!(received, join(&header(family, &[DOUBLE, added]), PAYLOAD));
}

#[apply(both_families)]
fn a_checksum_is_computed_anew(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v2 --tlv-crc32c --tlv-drop 0xE1"]);
    let received = through(&scene, 0, &with_checksum(family, &[AWS, DOUBLE]));
    assert_eq!(received, join(&with_checksum(family, &[AWS]), PAYLOAD));
}

#[apply(both_families)]
fn each_connection_can_have_a_name(family: Family) {
    let scene = FOREWORD.scene(family, &[OFF, "--outbound v2 --tlv-add unique-id"]);
    let names = [0, 1].map(|number| {
        let mut client = scene.connect();
        client.send(PAYLOAD);
        let plain = v2(client.address(), scene.vip());
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        let received = scene.backend.received(number);
        let name = received[plain.len()..received.len() - PAYLOAD.len()].to_vec();
        assert_eq!(name[..3], *b"\x05\x00\x20");
        assert!(name[3..].iter().all(u8::is_ascii_hexdigit), "{}", name.escape_ascii());
        assert_eq!(name.len(), 3 + 32);
        name
    });
    assert_ne!(names[0], names[1]);
}

#[apply(both_families)]
fn local_stays_local(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v2"]);
    assert_eq!(through(&scene, 0, &v2_local()), join(&v2_local(), PAYLOAD));
}

/// Towards an upstream with an address of its own, of either family.
#[apply(both_families)]
fn the_nodes_own_connection_is_told_with_its_checksum(family: Family) {
    for upstream in Family::BOTH {
        let lab = lab();
        let address = SocketAddr::new(upstream.backend(), 9000);
        let backend = Backend::start(&lab.backend, address, swallow);
        let flags = format!(
            "eth0 --port {PORT} {REQUIRE} --outbound v2 --outbound-local proxy --tlv-crc32c \
             --upstream {address}"
        );
        let _foreword = FOREWORD.attach(&lab.node, &flags);
        let vip = SocketAddr::new(family.vip(), PORT);
        let mut check = Client::connect(&lab.client, family.lb(), vip);
        check.send(&join(&v2_raw(0x20, 0, AWS), PAYLOAD));
        assert_eq!(check.finish_and_rest(), Reply::ended(b""));
        let written = checked(backend.recording(0).peer, address, &[AWS]);
        assert_same_bytes(&backend.received(0), &join(&written, PAYLOAD));
    }
}

#[apply(both_families)]
fn v1_drops_tlvs(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v1"]);
    let received = through(&scene, 0, &header(family, &[AWS, DOUBLE]));
    let line = v1(named_client(family), named_destination(family));
    assert_eq!(received, join(&line, PAYLOAD));
}
