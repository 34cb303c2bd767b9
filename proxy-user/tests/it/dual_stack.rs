//! Headers of load balancers that listen for both families with one socket: HAProxy and nginx write
//! an IPv4 client of such a listener as an IPv4-mapped address, in v1 with a dotted end. It is the
//! IPv4 client to everybody here: upstreams, limits and the log.

use std::net::{IpAddr, SocketAddr};

use netlab::header::{Encoder, named_client, named_destination, named_headers, v1, v2};
use netlab::{Family, OPTIONAL, PATIENCE, REQUIRE, Reply, echo, join, wait_until};

use crate::FOREWORD;
use crate::maps::refused;

const PAYLOAD: &[u8] = b"the first bytes of the client";

/// An IPv4 address in IPv6's form, which is written with a dotted end.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Of whichever family the connection is that brings the header.
#[apply(both_families)]
fn a_mapped_client_is_told_as_the_ipv4_one(family: Family) {
    let ends = [named_client(Family::V4), named_destination(Family::V4)].map(mapped);
    let inbound = [v1, v2].map(|encode: Encoder| encode(ends[0], ends[1]));
    assert_eq!(inbound[0], b"PROXY TCP6 ::ffff:198.51.100.7 ::ffff:192.0.2.44 40000 443\r\n");
    for (flag, golden) in
        ["--outbound v1", "--outbound v2"].into_iter().zip(named_headers(Family::V4))
    {
        let scene = FOREWORD.scene(family, &[REQUIRE, flag]);
        for (number, header) in inbound.iter().enumerate() {
            let mut client = scene.connect();
            client.send(&join(header, PAYLOAD));
            assert_eq!(client.finish_and_rest(), Reply::ended(b""));
            scene.assert_received(number, &join(&golden, PAYLOAD));
        }
    }
}

/// Each address is read by itself, as HAProxy does. A header has one family for both, so that the
/// IPv4 one is mapped again, in the form that every receiver reads.
#[apply(both_families)]
fn one_mapped_address_is_written_in_hex_groups(family: Family) {
    let (client, destination) = (mapped(named_client(Family::V4)), named_destination(Family::V6));
    let line = b"PROXY TCP6 ::ffff:c633:6407 2001:db8:44::1 40000 443\r\n".to_vec();
    for (flag, golden) in [("--outbound v1", line), ("--outbound v2", v2(client, destination))] {
        let scene = FOREWORD.scene(family, &[REQUIRE, flag]);
        for (number, encode) in [v1 as Encoder, v2].into_iter().enumerate() {
            let mut load_balancer = scene.connect();
            load_balancer.send(&join(&encode(client, destination), PAYLOAD));
            assert_eq!(load_balancer.finish_and_rest(), Reply::ended(b""));
            scene.assert_received(number, &join(&golden, PAYLOAD));
        }
    }
}

/// One of them in each form; a third one is too many, and is logged as the IPv4 client.
#[apply(both_families)]
fn a_mapped_client_has_the_ipv4_ones_limit(family: Family) {
    let scene =
        FOREWORD.scene_serving(family, &[OPTIONAL, "--outbound none --max-per-source 2"], echo);
    let (client, to) = (named_client(Family::V4), named_destination(Family::V4));
    let headers = [v1(client, to), v1(mapped(client), mapped(to)), v2(mapped(client), mapped(to))];
    let mut open = Vec::new();
    for header in &headers[..2] {
        let mut one = scene.connect();
        one.send(&join(header, b"stay"));
        assert_eq!(one.receive(4), b"stay");
        open.push(one);
    }
    let mut third = scene.connect();
    third.offer(&join(&headers[2], b"stay"));
    third.rest().assert_cut("a third one of the client");
    let counted = || refused(&scene.foreword, "source-limit") == 1;
    wait_until(PATIENCE, "the count", counted).expect("it is counted");
    let is_logged = || {
        let log = scene.foreword.output();
        log.lines().any(|line| {
            line.contains("reason=source-limit") && line.contains(&format!("client={client} "))
        })
    };
    wait_until(PATIENCE, "the line", is_logged)
        .unwrap_or_else(|error| panic!("{error}: {}", scene.foreword.output()));
}
