//! Clients that must not pass for others: whatever begins with a header's signature is refused,
//! however the rest is made, and however it is split.
//!
//! Receivers read headers more leniently than Foreword does. What Foreword would call malformed, and
//! so no header, some of them believe: nginx and HAProxy show it here, asked without Foreword first.

use std::time::Duration;

use netlab::header::{V2_SIGNATURE, named_client, named_destination, named_headers, v2_with_tlvs};
use netlab::{
    Client, Daemon, Family, GREETING, Lab, OPTIONAL, PORT, REQUIRE, Reply, Scratch, greet, join,
    lab, text,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::FOREWORD;
use crate::peers::{haproxy_receiver, nginx_receiver};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
/// How many damaged headers are tried with each outbound version.
const DAMAGED: usize = 60;
/// By when a connection is over that is refused.
const SOON: Duration = Duration::from_secs(5);

/// Headers that are malformed to us, of which nginx believes all and HAProxy the first three.
fn malformed(family: Family) -> [Vec<u8>; 5] {
    let (client, destination) = (named_client(family), named_destination(family));
    let [line, _] = named_headers(family);
    let line = String::from_utf8(line).expect("v1 is ASCII");
    [
        b"PROXY TCP6 ::ffff:198.51.100.7 ::ffff:192.0.2.44 40000 443\r\n".to_vec(),
        line.replace(" 40000", " 040000").into_bytes(),
        line.replace(" 443", " 0443").into_bytes(),
        v2_with_tlvs(client, destination, &[3, 0, 4, 0xde, 0xad, 0xbe, 0xef]),
        v2_with_tlvs(client, destination, &[4, 0, 9, 0]),
    ]
}

/// A connection of the untrusted stranger's, past or through whatever is in front of the VIP.
fn stranger(lab: &Lab, family: Family) -> Client {
    Client::connect(&lab.client, family.stranger(), (family.vip(), PORT).into())
}

/// The header is refused in each outbound version, although the running receiver believes it.
fn assert_not_believed(
    family: Family,
    receiver: impl Fn(&Lab, &Scratch, Family) -> Daemon,
    headers: &[Vec<u8>],
) {
    let (lab, scratch) = (lab(), Scratch::new());
    let _receiver = receiver(&lab, &scratch, family);
    let answer = |header: &[u8]| {
        let mut client = stranger(&lab, family);
        client.offer(&join(header, REQUEST));
        client.rest_within(SOON)
    };
    for header in headers {
        let reply = String::from_utf8(answer(header).bytes).expect("the answer is text");
        // The receiver's words for the client that the header names.
        let is_believed = reply.contains("\r\n\r\n") && reply.ends_with(" 40000\n");
        assert!(is_believed, "the receiver no longer believes {}: {reply}", text(header));
    }
    for outbound in ["none", "v1", "v2"] {
        let flags =
            format!("eth0 --port {PORT} {REQUIRE} --untrusted direct --outbound {outbound}");
        let foreword = FOREWORD.attach(&lab.node, &flags);
        for header in headers {
            answer(header).assert_cut(&text(header));
        }
        drop(foreword);
    }
}

#[apply(both_families)]
fn a_malformed_header_is_not_believed_by_nginx_behind_us(family: Family) {
    assert_not_believed(family, nginx_receiver, &malformed(family));
}

#[apply(both_families)]
fn a_malformed_header_is_not_believed_by_haproxy_behind_us(family: Family) {
    assert_not_believed(family, haproxy_receiver, &malformed(family)[..3]);
}

/// A well-formed header with up to three bytes changed, added or taken away behind its signature;
/// and where to split it.
fn damaged(family: Family) -> impl Strategy<Value = (Vec<u8>, Index)> {
    let byte = prop_oneof![any::<u8>(), select(&b" \r\n0+:.\0"[..])];
    let damages = vec((any::<Index>(), byte, 0..3u8), 0..4);
    let header = select(named_headers(family).to_vec());
    (header, damages, any::<Index>()).prop_map(|(mut bytes, damages, split)| {
        let signature = if bytes.starts_with(&V2_SIGNATURE) { V2_SIGNATURE.len() } else { 6 };
        for (at, byte, how) in damages {
            let behind = bytes.len() - signature;
            match (signature + at.index(behind + 1), how) {
                (at, 0) => bytes.insert(at, byte),
                (at, 1) if at < bytes.len() => drop(bytes.remove(at)),
                (at, _) if at < bytes.len() => bytes[at] = byte,
                _ => bytes.push(byte),
            }
        }
        (bytes, split)
    })
}

#[apply(both_families)]
fn no_header_of_any_form_reaches_an_upstream(family: Family) {
    let mut runner = TestRunner::deterministic();
    let strategy = damaged(family);
    for outbound in ["none", "v1", "v2"] {
        let outbound = format!("--outbound {outbound} --max-header 128 --versions v2");
        let scene = FOREWORD.scene(family, &[REQUIRE, "--untrusted direct", &outbound]);
        for number in 0..DAMAGED {
            let tree = strategy.new_tree(&mut runner).expect("the strategy does not filter");
            let (header, split) = tree.current();
            let mut client = scene.connect_from(family.stranger());
            let (first, rest) = match number % 4 {
                0 => header.split_at(split.index(header.len())),
                _ => (&b""[..], &header[..]),
            };
            client.send_apart(if first.is_empty() { &[] } else { std::slice::from_ref(&first) });
            client.offer(&join(rest, REQUEST));
            client.rest_within(SOON).assert_cut(&text(&header));
        }
        let too_long = [&[0xE0, 0, 200][..], &[b'x'; 200]].concat();
        let too_long = v2_with_tlvs(named_client(family), named_destination(family), &too_long);
        let mut client = scene.connect_from(family.stranger());
        client.offer(&join(&too_long, REQUEST));
        client.rest_within(SOON).assert_cut("longer than a trusted one may be");
        scene.assert_no_upstream();
    }
}

#[apply(both_families)]
fn a_header_is_refused_wherever_it_is_split(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--untrusted direct --outbound none"]);
    for (header, signature) in named_headers(family).into_iter().zip([6, V2_SIGNATURE.len()]) {
        for split in 1..=signature + 1 {
            let (first, rest) = header.split_at(split);
            let mut client = scene.connect_from(family.stranger());
            client.send_apart(&[first]);
            client.offer(&join(rest, REQUEST));
            client.rest_within(SOON).assert_cut(&format!("split at {split}: {}", text(&header)));
        }
    }
    scene.assert_no_upstream();
}

/// The upstream is open by then, and gets nothing of it. A connection without a header goes on.
#[apply(both_families)]
fn a_header_behind_a_servers_greeting_is_refused(family: Family) {
    let flags = [OPTIONAL, "--untrusted direct --server-first 200ms --outbound none"];
    let scene = FOREWORD.scene_serving(family, &flags, greet);
    for (number, header) in named_headers(family).into_iter().enumerate() {
        let mut client = scene.connect_from(family.stranger());
        assert_eq!(client.receive(GREETING.len()), GREETING);
        client.send_apart(&[&header[..5]]);
        client.offer(&join(&header[5..], b"EHLO example.org\r\n"));
        client.rest_within(SOON).assert_cut(&text(&header));
        scene.assert_received(number, b"");
    }
    let mut client = scene.connect_from(family.stranger());
    assert_eq!(client.receive(GREETING.len()), GREETING);
    client.send_apart(&[b"P", b"ASS x\r\n"]);
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_received(2, b"PASS x\r\n");
}

#[apply(both_families)]
fn the_beginning_of_a_signature_is_payload(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--untrusted direct --outbound none"]);
    let payloads =
        [&b"PROXY"[..], b"PROXY\r\n", b"PROPFIND / HTTP/1.1\r\n\r\n", b"\r\n\r\n\0\r\nQUIT"];
    for (number, payload) in payloads.into_iter().enumerate() {
        let mut client = scene.connect_from(family.stranger());
        client.send_apart(&[&payload[..3], &payload[3..]]);
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, payload);
    }
}
