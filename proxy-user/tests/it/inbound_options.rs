//! What can be asked of inbound headers beyond their presence: versions, length, who speaks first,
//! whether a second one may follow. And the connections that only look.

use std::time::{Duration, Instant};

use netlab::header::{named_client, named_destination, named_headers, v1, v2_local, v2_with_tlvs};
use netlab::{
    Client, Family, GREETING, OPTIONAL, PATIENCE, REQUIRE, Reply, Scene, greet, join, wait_until,
};

use crate::FOREWORD;
use crate::maps::refused;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";

/// Waits for the counters, which are published once a second.
fn assert_refused(scene: &Scene, reason: &str, times: u64) {
    wait_until(PATIENCE, &format!("{times} × {reason}"), || {
        refused(&scene.foreword, reason) == times
    })
    .expect("each refusal is counted, once");
}

#[apply(both_families)]
fn versions_can_be_limited(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--versions v2 --outbound none"]);
    let [line, block] = named_headers(family);
    let mut client = scene.connect();
    client.send(&join(&line, REQUEST));
    client.rest_within(Duration::from_secs(2)).assert_cut("v1");
    let mut client = scene.connect();
    client.send(&join(&block, REQUEST));
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_received(0, REQUEST);
    assert_refused(&scene, "version-not-allowed", 1);
}

/// The length says so before the bytes are there, so nobody waits for them.
#[apply(both_families)]
fn a_header_can_be_too_long(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--max-header 128 --outbound none"]);
    let ends = (named_client(family), named_destination(family));
    let long = v2_with_tlvs(ends.0, ends.1, &[&[0xE0, 0, 120][..], &[b'x'; 120]].concat());
    let mut client = scene.connect();
    client.send(&long[..16]);
    client.rest_within(Duration::from_secs(2)).assert_cut("only its length was sent");
    assert_refused(&scene, "header-too-long", 1);
    scene.assert_no_upstream();
}

#[apply(both_families)]
fn a_server_can_speak_first(family: Family) {
    let flags = [OPTIONAL, "--server-first 200ms --outbound v1"];
    let scene = FOREWORD.scene_serving(family, &flags, greet);
    let begin = Instant::now();
    let mut client = scene.connect();
    assert_eq!(client.receive(GREETING.len()), GREETING);
    let after = begin.elapsed();
    assert!((150..2000).contains(&after.as_millis()), "greeted after {after:?}");
    let header = v1(client.address(), scene.vip());
    client.send(b"EHLO example.org\r\n");
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_received(0, &join(&header, b"EHLO example.org\r\n"));
}

#[apply(both_families)]
fn a_prompt_header_is_read_where_the_server_may_speak_first(family: Family) {
    let flags = [OPTIONAL, "--server-first 1s --outbound none"];
    let scene = FOREWORD.scene(family, &flags);
    let [line, _] = named_headers(family);
    let mut client = scene.connect();
    // Begun in time: the rest may take longer than the server would have waited.
    client.send(&line[..3]);
    std::thread::sleep(Duration::from_millis(1500));
    client.send(&join(&line[3..], REQUEST));
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_received(0, REQUEST);
}

#[apply(both_families)]
fn payload_that_ends_like_a_headers_beginning_is_payload(family: Family) {
    let scene = FOREWORD.scene(family, &[OPTIONAL, "--outbound none"]);
    for (number, payload) in
        [&b"P"[..], b"PROXY", b"\r\n", b"\r\n\r\n\0\r\nQUIT"].iter().enumerate()
    {
        let mut client = scene.connect();
        client.send(payload);
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, payload);
    }
}

#[apply(both_families)]
fn a_second_header_is_payload(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none"]);
    let [line, block] = named_headers(family);
    let mut client = scene.connect();
    client.send(&join(&block, &join(&line, REQUEST)));
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_received(0, &join(&line, REQUEST));
}

#[apply(both_families)]
fn a_second_header_can_be_refused(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--reject-second --outbound none"]);
    let [line, block] = named_headers(family);
    for (first, second) in [(&line, &block), (&block, &line), (&line, &line)] {
        let mut client = scene.connect();
        client.send(&join(first, &join(second, REQUEST)));
        client.rest_within(Duration::from_secs(2)).assert_cut("in one segment");
        let mut client = scene.connect();
        client.send_apart(&[&join(first, &second[..4])]);
        client.offer(&second[4..]);
        client.rest_within(Duration::from_secs(2)).assert_cut("in two segments");
    }
    assert_refused(&scene, "second-header", 6);
    scene.assert_no_upstream();
}

/// The upstream is open by then, and must not get a byte of it.
#[apply(both_families)]
fn a_second_header_is_refused_however_late(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--reject-second --outbound v1"]);
    let [line, block] = named_headers(family);
    for (number, second) in [&line, &block].into_iter().enumerate() {
        let mut client = scene.connect();
        client.send_apart(&[&block, &second[..1], &second[1..5], &second[5..13]]);
        client.offer(&second[13..]);
        client.rest_within(Duration::from_secs(2)).assert_cut("byte by byte");
        scene.assert_received(number, &line);
    }
    assert_refused(&scene, "second-header", 2);
}

#[apply(both_families)]
fn payload_passes_where_a_second_header_is_refused(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--reject-second --outbound none"]);
    let [_, block] = named_headers(family);
    let payload = b"PROPFIND / HTTP/1.1\r\n\r\n";
    let splits: [&[&[u8]]; 4] = [
        &[&join(&block, payload)],
        &[&block, payload],
        &[&block, &payload[..2], &payload[2..3], &payload[3..]],
        &[&join(&block, &payload[..3]), &payload[3..]],
    ];
    for (number, pieces) in splits.into_iter().enumerate() {
        let mut client = scene.connect();
        client.send_apart(pieces);
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, payload);
    }
    // An end within what could have become a header is an end.
    let mut client = scene.connect();
    client.send_apart(&[&block, &payload[..3]]);
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_received(splits.len(), &payload[..3]);
}

#[apply(both_families)]
fn the_server_speaks_while_a_second_header_is_looked_for(family: Family) {
    let flags = [REQUIRE, "--reject-second --outbound none"];
    let scene = FOREWORD.scene_serving(family, &flags, greet);
    let [_, block] = named_headers(family);
    let mut client = scene.connect();
    client.send(&block);
    assert_eq!(client.receive(GREETING.len()), GREETING);
    client.send(b"EHLO example.org\r\n");
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_received(0, b"EHLO example.org\r\n");
}

/// Connect-and-close, connect-and-reset, header-then-close, header-then-reset, LOCAL.
#[apply(both_families)]
fn health_checks_are_no_errors(family: Family) {
    let mut scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v2"]);
    let [line, block] = named_headers(family);
    let looks: [&dyn Fn(Client); 5] = [
        &|client| assert_eq!(client.finish_and_rest(), Reply::ended(b"")),
        &|client| client.reset(),
        &|mut client| {
            client.send(&line);
            assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        },
        &|mut client| {
            client.send_apart(&[&block]);
            client.reset();
        },
        &|mut client| {
            client.send(&join(&v2_local(), b"ping"));
            assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        },
    ];
    for look in looks {
        look(scene.connect());
    }
    assert!(scene.foreword.terminate().expect("it can be stopped").success());
    let output = scene.foreword.output();
    let summary = "5 connections: 0 relayed, 0 unchanged, 5 health checks; 4 bytes in, 0 bytes out";
    assert!(output.contains(summary), "{output}");
    assert!(!output.contains("refused or cut short"), "{output}");
}
