//! The inbound header in every split: its end is found wherever segments begin and end.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use netlab::header::{named_client, named_destination, named_headers, v1, v2_with_tlvs};
use netlab::{Client, Family, REQUIRE, Reply, SEGMENT_GAP, join, text};

use crate::FOREWORD;

/// One connection for each position, all at once; each with a payload of its own, so that no
/// connection can pass for another.
#[apply(both_families)]
fn a_header_split_at_every_byte_is_read(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v1"]);
    let mut expected = BTreeSet::new();
    let mut open: Vec<(Client, Vec<u8>)> = Vec::new();
    for (version, header) in named_headers(family).into_iter().enumerate() {
        for position in 1..header.len() {
            let payload = format!("v{} split at {position}", version + 1).into_bytes();
            let mut client = scene.connect();
            client.send(&header[..position]);
            open.push((client, join(&header[position..], &payload)));
            expected.insert(join(&v1(named_client(family), named_destination(family)), &payload));
        }
    }
    sleep(SEGMENT_GAP);
    for (client, rest) in &mut open {
        client.send(rest);
    }
    let connections = open.len();
    for (client, _) in open {
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    }
    let received: BTreeSet<_> = (0..connections).map(|n| scene.backend.received(n)).collect();
    let wrong: Vec<_> = received.symmetric_difference(&expected).map(|bytes| text(bytes)).collect();
    assert!(wrong.is_empty(), "in one set only, received or expected: {wrong:#?}");
    assert_eq!(scene.backend.connections(), connections);
}

#[apply(both_families)]
fn a_header_may_come_byte_by_byte(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none"]);
    for (number, header) in named_headers(family).into_iter().enumerate() {
        let mut client = scene.connect();
        for byte in join(&header, b"payload") {
            client.send(&[byte]);
            sleep(Duration::from_millis(3));
        }
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, b"payload");
    }
}

/// In one segment, however much it is, TLVs included; the payload may itself look like a header.
#[apply(both_families)]
fn a_header_may_come_with_payload_behind_it(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none"]);
    let (client, destination) = (named_client(family), named_destination(family));
    let unknown_tlv = [&[0xE5, 0x04, 0x00][..], &[0; 1024]].concat();
    let no_op_tlv = [0x04, 0x00, 0x03, 1, 2, 3];
    let payload = vec![b'P'; 40_000];
    let mut headers = named_headers(family).to_vec();
    headers.push(v2_with_tlvs(client, destination, &no_op_tlv));
    headers.push(v2_with_tlvs(client, destination, &unknown_tlv));
    for (number, header) in headers.into_iter().enumerate() {
        let mut client = scene.connect();
        client.send(&join(&header, &payload));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, &payload);
    }
}

/// A complete header opens the upstream: a backend that speaks first is heard.
#[apply(both_families)]
fn a_header_may_be_all_that_comes_for_a_while(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, "--outbound none"], |served| {
        served.send(b"220 ready\r\n");
        served.read_to_end();
    });
    for (number, header) in named_headers(family).into_iter().enumerate() {
        let mut client = scene.connect();
        client.send(&header);
        assert_eq!(client.receive(11), b"220 ready\r\n");
        client.send(b"EHLO example.org\r\n");
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, b"EHLO example.org\r\n");
    }
}
