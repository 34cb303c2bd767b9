//! The rules that no inbound header can show: what Foreword writes, when, and for whom.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use netlab::header::{
    Encoder, named_client, named_destination, named_headers, v1, v2, v2_local, v2_raw, v2_with_tlvs,
};
use netlab::{End, Family, OFF, PATIENCE, PORT, REQUIRE, Reply, join, lab, text, wait_until};

use crate::FOREWORD;

#[apply(both_families)]
fn pp02_without_inbound_a_header_is_payload(family: Family) {
    let scene = FOREWORD.scene(family, &[OFF, "--outbound v2"]);
    for (number, header) in named_headers(family).into_iter().enumerate() {
        let mut client = scene.connect();
        let written = v2(client.address(), scene.vip());
        client.send(&header);
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, &join(&written, &header));
    }
}

#[apply(both_families)]
fn pp03_the_header_is_written_at_once(family: Family) {
    for (flag, encode) in [("--outbound v1", v1 as Encoder), ("--outbound v2", v2)] {
        let scene = FOREWORD.scene(family, &[OFF, flag]);
        let mut client = scene.connect();
        let header = encode(client.address(), scene.vip());
        assert_eq!(scene.backend.recording(0).at_least(header.len()), header, "{flag}");
        client.send(b"later");
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(0, &join(&header, b"later"));
    }
}

#[apply(both_families)]
fn pp05_the_deadline_is_kept(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none --header-timeout 3s"]);
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

#[apply(lab_test)]
fn pp05_less_than_3_s_is_refused() {
    let lab = lab();
    let flags = format!("eth0 --port {PORT} {REQUIRE} --outbound none --header-timeout 2999ms");
    let arguments: Vec<_> = flags.split_whitespace().collect();
    let mut attempt = FOREWORD.spawn(&lab.node, &arguments);
    let status = attempt.wait(PATIENCE).expect("it ends by itself");
    assert!(!status.success() && attempt.output().contains("3s"), "{}", attempt.output());
}

/// Two clients at the same time are two upstream connections, each with its own header.
#[apply(both_families)]
fn pp06_each_client_has_its_own_connection(family: Family) {
    let scene = FOREWORD.scene(family, &[OFF, "--outbound v2"]);
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
#[apply(both_families)]
fn pp07_datagrams_are_left_alone(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v2"]);
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

/// What comes as UNKNOWN, unix or datagram has real endpoints to be named.
#[apply(both_families)]
fn pp19_unknown_is_never_written(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v1"]);
    let [named, _] = named_headers(family);
    let unix = v2_raw(0x21, 0x31, &[b'/'; 216]);
    let inbound = [named.clone(), b"PROXY UNKNOWN\r\n".to_vec(), v2_raw(0x21, 0, b""), unix];
    for (number, header) in inbound.iter().enumerate() {
        let mut client = scene.connect();
        let real = v1(client.address(), scene.vip());
        let written = if number == 0 { &named } else { &real };
        client.send(&join(header, b"payload"));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, &join(written, b"payload"));
    }
}

/// v1 has no word for LOCAL: the load balancer's own connection is named by its own ends.
#[apply(both_families)]
fn pp24_a_v1_health_check_states_real_addresses(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v1"]);
    for (number, check) in [v2_local(), v2_raw(0x20, 0x11, &[0xaa; 12])].iter().enumerate() {
        let mut load_balancer = scene.connect();
        let written = v1(load_balancer.address(), scene.vip());
        load_balancer.send(&join(check, b"payload"));
        assert_eq!(load_balancer.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, &join(&written, b"payload"));
    }
}

#[apply(both_families)]
fn pp43_headers_of_others_are_refused(family: Family) {
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v2 --guard off"]);
    for header in named_headers(family) {
        let mut stranger = scene.connect_from(family.stranger());
        stranger.offer(&join(&header, b"payload"));
        stranger.rest().assert_cut("a header of somebody who is not trusted");
    }
    scene.assert_no_upstream();
}

/// At the start where our own words are too long, and in the log where those of others are.
#[apply(lab_test)]
fn pp44_a_header_that_may_not_fit_one_segment_is_told_of() {
    const LINE: &str = "an upstream is told a header of more than 536 bytes";
    let family = Family::V4;
    let (client, destination) = (named_client(family), named_destination(family));
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v2"]);
    assert!(!scene.foreword.output().contains("536 bytes"), "{}", scene.foreword.output());
    // Sixteen bytes, twelve of addresses, three before the value.
    for (number, length) in [536, 537].into_iter().enumerate() {
        let value = vec![b'x'; length - 16 - 12 - 3];
        let value_length = u16::try_from(value.len()).expect("it is short").to_be_bytes();
        let tlv = [&[0xe5], &value_length[..], &value].concat();
        let header = v2_with_tlvs(client, destination, &tlv);
        let mut sender = scene.connect();
        sender.send(&join(&header, b"payload"));
        assert_eq!(sender.finish_and_rest(), Reply::ended(b""));
        scene.assert_received(number, &join(&header, b"payload"));
        if length > 536 {
            wait_until(PATIENCE, LINE, || scene.foreword.output().contains(LINE))
                .unwrap_or_else(|error| panic!("{error}: {}", scene.foreword.output()));
        } else {
            assert!(!scene.foreword.output().contains(LINE), "{length} bytes fit");
        }
    }
    let name = "a".repeat(500);
    let wordy =
        FOREWORD.scene(family, &[REQUIRE, "--outbound v2 --tlv-add", &format!("authority={name}")]);
    let warning = "warning   rule attach: the header that its upstream gets has up to 555 bytes";
    assert!(wordy.foreword.output().contains(warning), "{}", wordy.foreword.output());
}

#[apply(both_families)]
fn pp48_an_added_name_replaces_the_one_that_came(family: Family) {
    let (client, destination) = (named_client(family), named_destination(family));
    let came = b"\x05\x00\x06theirs\x01\x00\x02h2\x02\x00\x0etheirs.example";
    let scene = FOREWORD.scene(
        family,
        &[REQUIRE, "--outbound v2 --tlv-add unique-id --tlv-add authority=ours.example"],
    );
    let mut sender = scene.connect();
    sender.send(&join(&v2_with_tlvs(client, destination, came), b"payload"));
    assert_eq!(sender.finish_and_rest(), Reply::ended(b""));
    let received = scene.backend.received(0);
    let id = received.strip_suffix(b"payload").and_then(<[u8]>::last_chunk::<32>);
    let id = id.expect("our name stands behind everything else");
    assert!(id.iter().all(u8::is_ascii_hexdigit), "{}", text(&received));
    let told = [b"\x01\x00\x02h2\x02\x00\x0cours.example\x05\x00\x20", &id[..]].concat();
    assert_eq!(received, join(&v2_with_tlvs(client, destination, &told), b"payload"));
}
