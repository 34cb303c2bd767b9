//! The outbound header: the upstream's very first bytes, who is named in them, and where it goes.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use netlab::header::{
    Encoder, named_client, named_destination, named_headers, v1, v2, v2_local, v2_raw, v2_with_tlvs,
};
use netlab::{
    Backend, Client, Family, OFF, OPTIONAL, PORT, REQUIRE, Reply, assert_same_bytes, echo, join,
    lab, output_of, swallow, text,
};

use crate::FOREWORD;

const PAYLOAD: &[u8] = b"\0\x01\xfe\xff the first bytes of the client";

/// Golden bytes, whatever the version that came in.
#[apply(both_families)]
fn the_named_client_and_destination_go_on(family: Family) {
    let line = match family {
        Family::V4 => &b"PROXY TCP4 198.51.100.7 192.0.2.44 40000 443\r\n"[..],
        Family::V6 => b"PROXY TCP6 2001:db8::7 2001:db8:44::1 40000 443\r\n",
    };
    let block = match family {
        Family::V4 => {
            &b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\xc0\x00\x02\x2c\x9c\x40\x01\xbb"
                [..]
        }
        Family::V6 => {
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24\
              \x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\
              \x20\x01\x0d\xb8\x00\x44\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x9c\x40\x01\xbb"
        }
    };
    for (flag, golden) in [("--outbound v1", line), ("--outbound v2", block)] {
        let scene = FOREWORD.scene(family, &[REQUIRE, flag]);
        for (number, inbound) in named_headers(family).into_iter().enumerate() {
            let mut client = scene.connect();
            client.send(&join(&inbound, PAYLOAD));
            assert_eq!(client.finish_and_rest(), Reply::ended(b""));
            scene.assert_received(number, &join(golden, PAYLOAD));
        }
    }
}

#[apply(both_families)]
fn none_strips_the_header(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none"]);
    for (number, inbound) in named_headers(family).into_iter().enumerate() {
        let mut client = scene.connect();
        client.send(&join(&inbound, PAYLOAD));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, PAYLOAD);
    }
}

#[apply(both_families)]
fn without_a_header_the_peer_and_the_original_destination_are_named(family: Family) {
    let encoders: [(&str, Encoder); 2] = [("--outbound v1", v1), ("--outbound v2", v2)];
    for inbound in [OFF, OPTIONAL] {
        for (flag, encode) in encoders {
            let scene = FOREWORD.scene(family, &[inbound, flag]);
            let mut client = scene.connect();
            let header = encode(client.address(), scene.vip());
            client.send(PAYLOAD);
            assert_eq!(client.finish_and_rest(), Reply::ended(b""));
            scene.assert_received(0, &join(&header, PAYLOAD));
        }
    }
}

/// An IPv4 load balancer may speak for an IPv6 client, and the other way round.
#[apply(both_families)]
fn the_named_family_need_not_be_the_connections(family: Family) {
    let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v2"]);
    let [line, block] = named_headers(other);
    for (number, inbound) in [&line, &block].into_iter().enumerate() {
        let mut client = scene.connect();
        client.send(&join(inbound, PAYLOAD));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, &join(&block, PAYLOAD));
    }
}

/// A load balancer's own connection, such as a health check, stays one (pp23, pp24).
#[apply(both_families)]
fn local_goes_on_as_local(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v2"]);
    let local_with_addresses = v2_raw(0x20, 0x11, &[0xAA; 12]);
    for (number, inbound) in [&v2_local(), &local_with_addresses].into_iter().enumerate() {
        let mut client = scene.connect();
        client.send(&join(inbound, PAYLOAD));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, &join(&v2_local(), PAYLOAD));
    }
}

/// For receivers that refuse LOCAL: the connection's own ends, as they would be taken for with LOCAL. A
/// client's connection is told as ever.
#[apply(both_families)]
fn local_can_be_told_as_the_nodes_own_connection(family: Family) {
    let tlv = b"\xEA\x00\x04\x01abc";
    let local = v2_raw(0x20, 0x00, tlv);
    for (version, encode) in [("v1", v1 as Encoder), ("v2", v2)] {
        for more in ["", "--fast-open"] {
            let flags = format!("--outbound {version} --outbound-local proxy {more}");
            let scene = FOREWORD.scene(family, &[REQUIRE, &flags]);
            let mut check = scene.connect();
            check.send(&join(&local, PAYLOAD));
            assert_eq!(check.finish_and_rest(), Reply::ended(b""));
            let node = scene.backend.recording(0).peer;
            assert_eq!(node.ip(), family.node_back());
            let written = match version {
                "v1" => v1(node, scene.vip()),
                _ => v2_with_tlvs(node, scene.vip(), tlv),
            };
            scene.assert_received(0, &join(&written, PAYLOAD));
            let [header, _] = named_headers(family);
            let mut client = scene.connect();
            client.send(&join(&header, PAYLOAD));
            assert_eq!(client.finish_and_rest(), Reply::ended(b""));
            let named = encode(named_client(family), named_destination(family));
            scene.assert_received(1, &join(&named, PAYLOAD));
        }
    }
}

/// pp17: the rest of the line means nothing.
#[apply(both_families)]
fn unknown_is_accepted(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none"]);
    for (number, line) in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ff:: x 99999\r\n"].iter().enumerate()
    {
        let mut client = scene.connect();
        client.send(&join(line.as_bytes(), PAYLOAD));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, PAYLOAD);
    }
}

/// The upstream gets the header while the client is silent, so that it can speak first.
#[apply(both_families)]
fn the_header_waits_for_no_payload(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[OFF, "--outbound v1"], |served| {
        served.read();
        served.send(b"220 ready\r\n");
        served.read_to_end();
    });
    let mut client = scene.connect();
    let header = v1(client.address(), scene.vip());
    assert_eq!(client.receive(11), b"220 ready\r\n");
    assert_same_bytes(&scene.backend.recording(0).so_far(), &header);
    client.send(PAYLOAD);
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_received(0, &join(&header, PAYLOAD));
}

/// As the kernel of the backend counts it (`ss`): one segment with data, where two writes would
/// have been two.
#[apply(both_families)]
fn header_and_payload_leave_in_one_segment(family: Family) {
    for outbound in ["--outbound v1", "--outbound v2"] {
        let scene = FOREWORD.scene(family, &[REQUIRE, outbound]);
        let [line, _] = named_headers(family);
        let mut client = scene.connect();
        client.send(&join(&line, PAYLOAD));
        let received = scene.backend.recording(0).at_least(PAYLOAD.len() + 28);
        assert!(received.ends_with(PAYLOAD), "{}", text(&received));
        let mut ss = scene.lab.backend.command("ss");
        ss.args(["--tcp", "--info", "--no-header", "state", "established", "sport", "=", ":80"]);
        let counts = output_of(ss);
        assert!(counts.contains(" data_segs_in:1 "), "{outbound}: {counts}");
    }
}

/// The upstream may be of the other family: the header is about the client's side.
#[apply(both_families)]
fn a_fixed_upstream_is_told_the_original_destination(family: Family) {
    for upstream in Family::BOTH {
        let lab = lab();
        let address = SocketAddr::new(upstream.backend(), 9000);
        let backend = Backend::start(&lab.backend, address, swallow);
        let flags = format!("eth0 --port {PORT} {OFF} --outbound v1 --upstream {address}");
        let _foreword = FOREWORD.attach(&lab.node, &flags);

        let vip = SocketAddr::new(family.vip(), PORT);
        let mut client = Client::connect(&lab.client, family.lb(), vip);
        let header = v1(client.address(), vip);
        client.send(PAYLOAD);
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        assert_same_bytes(&backend.received(0), &join(&header, PAYLOAD));
        assert_eq!(backend.recording(0).peer.ip(), upstream.node_back());
    }
}

#[apply(both_families)]
fn a_destination_on_the_node_is_reached(family: Family) {
    let lab = lab();
    let address = SocketAddr::new(family.node(), PORT);
    let backend = Backend::start(&lab.node, address, echo);
    let _foreword =
        FOREWORD.attach(&lab.node, &format!("eth0 --port {PORT} {REQUIRE} --outbound v1"));

    let header = v1(named_client(family), named_destination(family));
    let [_, inbound] = named_headers(family);
    let mut client = Client::connect(&lab.client, family.lb(), address);
    client.send(&join(&inbound, PAYLOAD));
    let everything = join(&header, PAYLOAD);
    assert_eq!(client.finish_and_rest(), Reply::ended(&everything));
    assert_same_bytes(&backend.received(0), &everything);
}

#[apply(both_families)]
fn several_ports_and_ranges_are_protected(family: Family) {
    let lab = lab();
    let flags = "eth0 --port 80,443 --port 8000-8010 --outbound v1";
    let _foreword = FOREWORD.attach(&lab.node, &format!("{flags} {OFF}"));
    for port in [80, 443, 8000, 8005, 8010] {
        let address = SocketAddr::new(family.vip(), port);
        let backend = Backend::start(&lab.backend, address, swallow);
        let mut client = Client::connect(&lab.client, family.lb(), address);
        let header = v1(client.address(), address);
        client.send(PAYLOAD);
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        assert_same_bytes(&backend.received(0), &join(&header, PAYLOAD));
    }
}

/// Not proxied at all: the backend sees the client itself, and its bytes as they are. The protected
/// ports beside them refuse the same bytes.
#[apply(both_families)]
fn another_port_is_left_alone(family: Family) {
    let lab = lab();
    let _foreword =
        FOREWORD.attach(&lab.node, &format!("eth0 --port 8000-8010 {REQUIRE} --outbound v1"));
    for (port, is_protected) in [(7999, false), (8000, true), (8010, true), (8011, false)] {
        let address = SocketAddr::new(family.vip(), port);
        let backend = Backend::start(&lab.backend, address, echo);
        let mut client = Client::connect(&lab.client, family.lb(), address);
        let from = client.address();
        client.send(PAYLOAD);
        let expected = if is_protected { &b""[..] } else { PAYLOAD };
        assert_eq!(client.finish_and_rest(), Reply::ended(expected), "port {port}");
        if !is_protected {
            assert_eq!(backend.recording(0).peer, from);
        }
    }
}

/// TLS is payload: its first record, a `ClientHello`, comes right behind the header.
#[apply(both_families)]
fn the_header_precedes_the_client_hello(family: Family) {
    let scene = FOREWORD.scene(family, &[OFF, "--outbound v2"]);
    let mut openssl: Command = scene.lab.client.command("openssl");
    openssl.args(["s_client", "-connect", &scene.vip().to_string(), "-servername", "example.org"]);
    openssl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut openssl = openssl.spawn().expect("openssl is installed");

    let header_length = v2(scene.vip(), scene.vip()).len();
    let received = scene.backend.recording(0).at_least(header_length + 6);
    openssl.kill().expect("openssl is ours");
    openssl.wait().expect("openssl is ours");

    let (header, tls) = received.split_at(header_length);
    let port = u16::from_be_bytes([header[header_length - 4], header[header_length - 3]]);
    assert_same_bytes(header, &v2(SocketAddr::new(family.lb(), port), scene.vip()));
    assert_eq!(tls[..2], [0x16, 0x03], "a handshake record: {}", text(tls));
    assert_eq!(tls[5], 0x01, "a ClientHello: {}", text(tls));
    let name = b"example.org";
    assert!(tls.windows(name.len()).any(|window| window == name), "SNI: {}", text(tls));
}
