//! What can be seen from outside while Foreword runs: live connections and counters, in maps that
//! `bpftool` dumps with field names.

use std::net::{IpAddr, SocketAddr};

use netlab::{Family, OFF, PATIENCE, REQUIRE, Reply, echo, wait_until};
use serde_json::Value;

use crate::FOREWORD;
use crate::maps::{byte, connections, dump, packets, refused};

/// `ROLE_INBOUND` and `ROLE_UPSTREAM` of the ABI, and the kernel's `TCP_ESTABLISHED`.
const INBOUND: u64 = 1;
const UPSTREAM: u64 = 2;
const ESTABLISHED: u64 = 1;

/// A field that holds an address, in its 16 bytes.
fn address(value: &Value, field: &str) -> Vec<u8> {
    let bytes = value[field].as_array().unwrap_or_else(|| panic!("no {field} in {value}"));
    bytes.iter().filter_map(byte).collect()
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Asserts that exactly one entry is of this role, and describes the socket between these ends.
fn assert_shown(entries: &[Value], role: u64, remote: SocketAddr, local: SocketAddr) {
    let of_role: Vec<_> = entries.iter().filter(|e| e["role"].as_u64() == Some(role)).collect();
    let [entry] = of_role[..] else { panic!("not one of role {role}: {entries:#?}") };
    assert_eq!(address(entry, "remote"), mapped(remote.ip()), "{entry:#}");
    assert_eq!(address(entry, "local"), mapped(local.ip()), "{entry:#}");
    assert_eq!(entry["remote_port"].as_u64(), Some(u64::from(remote.port())), "{entry:#}");
    assert_eq!(entry["local_port"].as_u64(), Some(u64::from(local.port())), "{entry:#}");
    assert_eq!(entry["state"].as_u64(), Some(ESTABLISHED), "{entry:#}");
    assert_ne!(entry["since_ns"].as_u64(), Some(0), "{entry:#}");
}

#[apply(both_families)]
fn live_connections_are_shown_by_field_names(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[OFF, "--outbound none"], echo);
    let mut client = scene.connect();
    client.send(b"hello");
    assert_eq!(client.receive(5), b"hello");

    let entries = connections(&scene.foreword);
    assert_eq!(entries.len(), 2, "one socket on each side: {entries:#?}");
    assert_shown(&entries, INBOUND, client.address(), scene.vip());
    assert_shown(&entries, UPSTREAM, scene.vip(), scene.backend.recording(0).peer);

    let text = dump(&scene.foreword, "foreword_conns", &[]);
    for field in ["cookie", "remote", "local", "remote_port", "role", "state", "since_ns"] {
        assert!(text.contains(&format!("\"{field}\": ")), "no {field} in {text}");
    }
}

#[apply(both_families)]
fn an_ended_connection_is_shown_no_more(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[OFF, "--outbound none"], echo);
    for _ in 0..5 {
        let mut client = scene.connect();
        client.send(b"hello");
        assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
    }
    scene.connect().reset();
    let is_empty = || connections(&scene.foreword).is_empty();
    wait_until(PATIENCE, "an empty map", is_empty)
        .unwrap_or_else(|error| panic!("{error}: {:#?}", connections(&scene.foreword)));
}

/// The map follows within a second or so of the connection's end.
#[apply(both_families)]
fn refusals_are_counted_by_reason(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--guard off --outbound none"]);
    for sent in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n"] {
        let mut client = scene.connect();
        client.send(sent);
        client.rest().assert_cut("without a header");
    }
    let mut stranger = scene.connect_from(family.stranger());
    stranger.rest().assert_cut("from an untrusted source");
    drop(stranger);

    for reason in ["no-header", "v1-port", "untrusted-source"] {
        let is_counted = || refused(&scene.foreword, reason) == 1;
        wait_until(PATIENCE, reason, is_counted).unwrap_or_else(|error| {
            panic!("{error}: {}", dump(&scene.foreword, "foreword_reason", &[]))
        });
    }
    assert_eq!(refused(&scene.foreword, "v2-version"), 0);
}

#[apply(both_families)]
fn packets_are_counted(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[OFF, "--outbound none"], echo);
    let before = packets(&scene.foreword, "steered_syn");
    for _ in 0..3 {
        let mut client = scene.connect();
        client.send(b"hello");
        assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
    }
    assert_eq!(packets(&scene.foreword, "steered_syn") - before, 3);
    assert!(packets(&scene.foreword, "steered_flow") >= 3);
    assert!(packets(&scene.foreword, "returned") >= 3);
    assert_eq!(packets(&scene.foreword, "no_listener"), 0);
}
