//! The rules that no inbound header can show: what Foreword writes, when, and for whom.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use xtask::lab::{Family, Foreword};

use crate::client::{End, PATIENCE, Reply};
use crate::scene::{OFF, PORT, REQUIRE, Scene, lab};
use crate::setup::foreword;
use crate::wire::{join, named_headers, v1, v2, v2_local};

both_families!(
    pp02_without_inbound_a_header_is_payload,
    pp03_the_header_is_written_at_once,
    pp05_the_deadline_is_kept,
    pp06_each_client_has_its_own_connection,
    pp07_datagrams_are_left_alone,
    pp19_unknown_is_written_for_local_only,
);
any_family!(pp05_less_than_3_s_is_refused);

fn pp02_without_inbound_a_header_is_payload(family: Family) {
    let scene = Scene::new(family, &[OFF, "--outbound v2"]);
    for (number, header) in named_headers(family).into_iter().enumerate() {
        let mut client = scene.connect();
        let written = v2(client.address(), scene.vip());
        client.send(&header);
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, &join(&written, &header));
    }
}

fn pp03_the_header_is_written_at_once(family: Family) {
    for (flag, encode) in [("--outbound v1", v1 as crate::wire::Encoder), ("--outbound v2", v2)] {
        let scene = Scene::new(family, &[OFF, flag]);
        let mut client = scene.connect();
        let header = encode(client.address(), scene.vip());
        assert_eq!(scene.backend.recording(0).at_least(header.len()), header, "{flag}");
        client.send(b"later");
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(0, &join(&header, b"later"));
    }
}

fn pp05_the_deadline_is_kept(family: Family) {
    let scene = Scene::new(family, &[REQUIRE, "--outbound none --header-timeout 3s"]);
    let [header, _] = named_headers(family);
    let start = Instant::now();
    let mut client = scene.connect();
    client.send(&header[..header.len() - 1]);
    let early = client.rest_within(Duration::from_millis(2500));
    assert_eq!(early, Reply { bytes: Vec::new(), end: End::Silence });
    client.rest().assert_cut("a header that is not complete after 3 s");
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    scene.assert_no_upstream();
}

fn pp05_less_than_3_s_is_refused() {
    let lab = lab();
    let flags = format!("eth0 --port {PORT} {REQUIRE} --outbound none --header-timeout 2999ms");
    let arguments: Vec<_> = flags.split_whitespace().collect();
    let mut attempt = Foreword::spawn(&lab.node, foreword(), &arguments).expect("it starts");
    let status = attempt.wait(PATIENCE).expect("it ends by itself");
    assert!(!status.success() && attempt.output().contains("3s"), "{}", attempt.output());
}

/// Two clients at the same time are two upstream connections, each with its own header.
fn pp06_each_client_has_its_own_connection(family: Family) {
    let scene = Scene::new(family, &[OFF, "--outbound v2"]);
    for number in 0..2 {
        let earlier = scene.connect();
        let header = v2(earlier.address(), scene.vip());
        let first = scene.backend.recording(2 * number).at_least(header.len());
        assert_eq!(first, header);
        let later = scene.connect();
        let header = v2(later.address(), scene.vip());
        assert_eq!(scene.backend.recording(2 * number + 1).at_least(header.len()), header);
    }
}

/// Foreword speaks for TCP only: a datagram to a protected port arrives from its sender, as it is.
fn pp07_datagrams_are_left_alone(family: Family) {
    let scene = Scene::new(family, &[REQUIRE, "--outbound v2"]);
    let bind = |address: SocketAddr| UdpSocket::bind(address).expect("a free port");
    let receiver = scene.lab.backend.run(|| bind(scene.vip()));
    let sender = scene.lab.client.run(|| bind(SocketAddr::new(family.lb(), 0)));
    receiver.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero is valid");
    sender.send_to(b"a datagram", scene.vip()).expect("the lab has a route");
    let mut buffer = [0; 64];
    let (length, from) = receiver.recv_from(&mut buffer).expect("it arrives");
    let own = sender.local_addr().expect("a bound socket has an address");
    assert_eq!((&buffer[..length], from), (&b"a datagram"[..], own));
}

/// With v1 outbound: LOCAL becomes UNKNOWN. What came as UNKNOWN has real endpoints to be named.
fn pp19_unknown_is_written_for_local_only(family: Family) {
    let scene = Scene::new(family, &[REQUIRE, "--outbound v1"]);
    let [named, _] = named_headers(family);
    let inbound = [named.clone(), v2_local(), b"PROXY UNKNOWN\r\n".to_vec()];
    for (number, header) in inbound.iter().enumerate() {
        let mut client = scene.connect();
        let written = match number {
            0 => named.clone(),
            1 => b"PROXY UNKNOWN\r\n".to_vec(),
            _ => v1(client.address(), scene.vip()),
        };
        client.send(&join(header, b"payload"));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, &join(&written, b"payload"));
    }
}
