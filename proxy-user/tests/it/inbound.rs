//! Inbound modes and trust: whose header is read, and what happens where there is none.

use std::net::SocketAddr;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use netlab::header::{named_client, named_destination, named_headers, v1, v2_raw};
use netlab::{Client, Family, OFF, OPTIONAL, REQUIRE, Reply, Scene, join, text};

use crate::FOREWORD;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";

#[apply(both_families)]
fn require_takes_both_versions(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none"]);
    for (number, header) in named_headers(family).into_iter().enumerate() {
        let mut client = scene.connect();
        client.send(&join(&header, REQUEST));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, REQUEST);
    }
}

/// What makes curl say `(52) Empty reply from server`: an orderly end without a byte.
#[apply(both_families)]
fn require_closes_a_connection_without_header(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v1"]);
    let mut client = scene.connect();
    client.send(REQUEST);
    assert_eq!(client.rest_within(Duration::from_secs(1)), Reply::ended(b""));

    let closed_early = scene.connect();
    assert_eq!(closed_early.finish_and_rest(), Reply::ended(b""));
    scene.assert_no_upstream();
}

/// Headers that no rule allows, each with the payload that must not come through.
fn broken_headers(family: Family) -> Vec<Vec<u8>> {
    let [line, block] = named_headers(family);
    let without_cr = [&line[..line.len() - 2], b"\n"].concat();
    let other_family = if family == Family::V4 { "TCP6" } else { "TCP4" };
    let line = String::from_utf8(line).expect("v1 is ASCII");
    let address_block = &block[16..];
    let family_byte = block[13];
    let texts = [
        line.replace("PROXY", "proxy"),
        line.replace("PROXY ", "PROXY  "),
        line.replace(" 443", " +443"),
        line.replace(" 443", " 0443"),
        line.replace(" 443", " 70000"),
        line.replace(" 443", " 443 "),
        line.replace(if family == Family::V4 { "TCP4" } else { "TCP6" }, other_family),
        format!("PROXY UNKNOWN {}\r\n", "x".repeat(107)),
        "PROXY TCP4\r\n".to_owned(),
    ];
    let mut headers: Vec<_> = texts.into_iter().map(String::into_bytes).collect();
    headers.extend([
        without_cr,
        v2_raw(0x11, family_byte, address_block),
        v2_raw(0x22, family_byte, address_block),
        v2_raw(0x21, 0x41, address_block),
        v2_raw(0x21, family_byte, &address_block[1..]),
        b"\r\n\r\n\0\r\nQUIT\r".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
    ]);
    headers
}

#[apply(both_families)]
fn a_broken_header_is_closed_at_once(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none"]);
    for header in broken_headers(family) {
        let mut client = scene.connect();
        client.send(&join(&header, REQUEST));
        client.rest_within(Duration::from_secs(2)).assert_cut(&text(&header));
    }
    scene.assert_no_upstream();
}

/// However the header is late: not begun, cut in the middle, or trickling in.
#[apply(both_families)]
fn a_header_must_be_complete_within_five_seconds(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none"]);
    let [line, block] = named_headers(family);
    let begin = Instant::now();
    let assert_closed_in_time = |mut client: Client, how: &str| {
        client.rest().assert_cut(how);
        let after = begin.elapsed().as_secs_f32();
        assert!((4.5..7.0).contains(&after), "{how}: closed after {after:.1} s");
    };
    scope(|scope| {
        for (how, sent) in [("silent", &[][..]), ("v1 cut", &line[..20]), ("v2 cut", &block[..20])]
        {
            let mut client = scene.connect();
            client.send(sent);
            scope.spawn(move || assert_closed_in_time(client, how));
        }
        let mut trickling = scene.connect();
        for byte in &line[..10] {
            trickling.send(&[*byte]);
            sleep(Duration::from_millis(400));
        }
        assert_closed_in_time(trickling, "trickling");
    });
    scene.assert_no_upstream();
}

#[apply(both_families)]
fn optional_takes_connections_with_and_without_header(family: Family) {
    let scene = FOREWORD.scene(family, &[OPTIONAL, "--outbound none"]);
    let [line, block] = named_headers(family);
    for (number, header) in [&line[..], &block[..], b""].into_iter().enumerate() {
        let mut client = scene.connect();
        client.send(&join(header, REQUEST));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, REQUEST);
    }
}

/// `PROPFIND` is a verb of `WebDAV`, and `\r\n` may begin an HTTP request: both share their first
/// bytes with a header, and are payload all the same.
#[apply(both_families)]
fn optional_waits_where_payload_begins_like_a_header(family: Family) {
    let scene = FOREWORD.scene(family, &[OPTIONAL, "--outbound none"]);
    let payloads = [&b"PROPFIND / HTTP/1.1\r\n\r\n"[..], b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"];
    for (number, payload) in payloads.into_iter().enumerate() {
        let mut client = scene.connect();
        client.send_apart(&[&payload[..2], &payload[2..]]);
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, payload);
        scene.assert_proxied(number);
    }
}

/// A header that has begun beyond doubt is held to the rules; it does not become payload.
#[apply(both_families)]
fn optional_refuses_a_broken_header(family: Family) {
    let scene = FOREWORD.scene(family, &[OPTIONAL, "--outbound none"]);
    let [line, block] = named_headers(family);
    let line = String::from_utf8(line).expect("v1 is ASCII").replace(" 443", " 70000");
    for broken in [line.into_bytes(), v2_raw(0x21, block[13], &block[17..])] {
        let mut client = scene.connect();
        client.send(&join(&broken, REQUEST));
        client.rest_within(Duration::from_secs(2)).assert_cut(&text(&broken));
    }
    scene.assert_no_upstream();
}

#[apply(both_families)]
fn off_reads_no_header(family: Family) {
    let scene = FOREWORD.scene(family, &[OFF, "--outbound none"]);
    for (number, header) in named_headers(family).into_iter().enumerate() {
        let payload = join(&header, REQUEST);
        let mut client = scene.connect();
        client.send(&payload);
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, &payload);
        scene.assert_proxied(number);
    }
}

/// By the worker, that is: with the guard on, it would not get that far.
#[apply(both_families)]
fn an_untrusted_source_is_refused(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--guard off --outbound v1"]);
    let [line, block] = named_headers(family);
    for sent in [&join(&line, REQUEST), &join(&block, REQUEST), REQUEST, b""] {
        assert_refused_stranger(&scene, sent);
    }
    scene.assert_no_upstream();
}

/// The stranger gets no byte, and the end within a second. It may be a reset: a refusal that
/// leaves bytes unread is one.
fn assert_refused_stranger(scene: &Scene, sent: &[u8]) {
    let mut client = scene.connect_from(scene.family.stranger());
    client.offer(sent);
    client.rest_within(Duration::from_secs(1)).assert_cut(&text(sent));
}

#[apply(both_families)]
fn an_untrusted_source_can_be_a_client_of_its_own(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--untrusted direct --outbound v1"]);
    let mut client = scene.connect_from(family.stranger());
    let expected = join(&v1(client.address(), scene.vip()), REQUEST);
    client.send(REQUEST);
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_received(0, &expected);
}

#[apply(both_families)]
fn a_spoofed_header_is_refused(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--untrusted direct --outbound v1"]);
    for header in named_headers(family) {
        let (first, second) = header.split_at(14);
        let mut client = scene.connect_from(family.stranger());
        client.send_apart(&[first]);
        client.offer(&join(second, REQUEST));
        client.rest_within(Duration::from_secs(2)).assert_cut("in two segments");

        let mut client = scene.connect_from(family.stranger());
        client.send(&join(&header, REQUEST));
        client.rest_within(Duration::from_secs(2)).assert_cut("in one segment");
    }
    scene.assert_no_upstream();
}

/// `--trust` repeated, and with a prefix shorter than the address.
#[apply(both_families)]
fn a_source_is_trusted_by_its_range(family: Family) {
    let flags = "--inbound require --trust 192.0.2.0/24 --trust 10.77.0.0/16,fd77:1::/64";
    let scene = FOREWORD.scene(family, &[flags, "--outbound v1"]);
    let [_, header] = named_headers(family);
    let ends: [SocketAddr; 2] = [named_client(family), named_destination(family)];
    for (number, from) in [family.lb(), family.stranger()].into_iter().enumerate() {
        let mut client = scene.connect_from(from);
        client.send(&join(&header, REQUEST));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, &join(&v1(ends[0], ends[1]), REQUEST));
    }
}
