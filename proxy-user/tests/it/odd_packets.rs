//! Packets that a plain lab does not have: what other transparent proxies trip over on a real node.

mod fragments;
mod offloads;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use netlab::header::v1;
use netlab::{
    Backend, Client, Family, OFF, PORT, Reply, Scene, Served, Site, SiteAddresses, echo, hooks,
    join, lab, output_of, site, swallow, text,
};

use crate::FOREWORD;
use crate::counters::Counters;
use crate::maps::packets;
use crate::probe::{assert_peer_is_named, is_prompt};

/// With `tcp_syncookies=2` no handshake leaves a request socket behind: the ACK alone says that
/// the connection is ours.
#[apply(both_families)]
fn connections_by_syn_cookie_are_served(family: Family) {
    let lab = lab();
    lab.node.sysctl("net/ipv4/tcp_syncookies", "2").expect("root may set it");
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let foreword = FOREWORD.attach(&lab.node, &format!("eth0 --port {PORT} {OFF} --outbound v1"));
    for _ in 0..5 {
        assert_peer_is_named(&lab.client, family.lb(), backend.address());
    }
    assert_eq!(packets(&foreword, "steered_cookie"), 5);
}

/// Where the backend ends first, `TIME_WAIT` stays with us. A client that takes the same port
/// again is a new connection, and must not slip past the proxy.
#[apply(both_families)]
fn a_port_pair_can_be_used_again_at_once(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), |served| {
        served.finish();
        swallow(served);
    });
    let _foreword = FOREWORD.attach(&lab.node, &format!("eth0 --port {PORT} {OFF} --outbound v1"));
    let source = SocketAddr::new(family.lb(), 40_001);
    let expected = join(&v1(source, backend.address()), b"hello");
    let connect = |number| {
        let mut client = Client::connect_from_port(&lab.client, source, backend.address());
        assert_eq!(client.rest(), Reply::ended(b""));
        client.send(b"hello");
        drop(client);
        assert_eq!(backend.received(number), expected, "connection {number}");
    };
    let prompt = (0..10).filter(|number| is_prompt(|| connect(*number))).count();
    // A flood in another lab can cost a packet of ours, but not often.
    assert!(prompt >= 8, "only {prompt} of 10 were served without a delay");
}

/// Runs a program in the client's namespace, for a connection from `source` to the VIP.
fn run_python(scene: &Scene, program: &str, options: &[&str], source: SocketAddr) -> String {
    let mut python = scene.lab.client.command("python3");
    python.args(["-c", program]).args(options);
    for address in [source, scene.vip()] {
        python.arg(address.ip().to_string()).arg(address.port().to_string());
    }
    output_of(python)
}

/// The client's kernel puts them into each packet, and its packet filter sees them leave.
#[apply(both_families)]
fn ip_options_and_extension_headers_are_skipped(family: Family) {
    let expressions: &[&str] = match family {
        Family::V4 => &["ip hdrlength > 5"],
        Family::V6 => &["exthdr hbh exists", "exthdr dst exists"],
    };
    let names = ["first", "second"];
    let seen: Vec<_> = names.into_iter().zip(expressions.iter().copied()).collect();
    let scene = FOREWORD.scene_serving(family, &[OFF, "--outbound v1"], echo);
    let counters = Counters::new(&scene.lab.client, "output", &seen);
    let source = SocketAddr::new(family.lb(), 40_002);
    let output = run_python(&scene, include_str!("odd_packets/options.py"), &[], source);
    let expected = join(&v1(source, scene.vip()), b"hello");
    assert_eq!(output, String::from_utf8_lossy(&expected));
    for (name, expression) in seen {
        // SYN, the handshake's ACK, the payload, FIN: at least three packets.
        let packets = counters.packets(name);
        assert!(packets >= 3, "{packets} packets with {expression}");
    }
    assert_eq!(packets(&scene.foreword, "steered_syn"), 1);
}

/// Takes all, then gives it back.
fn echo_later(served: &mut Served) {
    let mut all = Vec::new();
    while let Some(bytes) = served.read() {
        all.extend(bytes);
    }
    served.send(&all);
}

/// Has the router take packets of up to 1400 octets, on its way to either side. Nobody else knows.
fn narrow(site: &Site, family: Family) {
    let at = SiteAddresses::of(family);
    let option = family.ip_option();
    let router = |args: String| site.router.ip(&args).expect("the route is there");
    router(format!("{option} route replace {} via {} mtu lock 1400", at.vip, at.nics[0]));
    router(format!("{option} route replace {} dev client0 mtu lock 1400", at.client));
}

/// The router's ICMP error is about a packet of the private namespace, and must reach it: else
/// large packets are lost without end.
#[apply(both_families)]
fn a_smaller_mtu_on_the_way_is_learned(family: Family) {
    let at = SiteAddresses::of(family);
    for hook in hooks() {
        let site = site();
        narrow(&site, family);
        let backend = Backend::start(&site.pods[0], (at.vip, PORT).into(), echo_later);
        let flags = format!("eth0 --port {PORT} {OFF} --outbound none --hook {hook}");
        let foreword = FOREWORD.attach(&site.node, &flags);
        let payload: Vec<u8> = (0..75_000_u32).flat_map(u32::to_be_bytes).collect();
        let begin = Instant::now();
        let mut client = Client::connect(&site.client, at.client, backend.address());
        client.send(&payload);
        let reply = client.finish_and_rest();
        let elapsed = begin.elapsed();
        assert!(reply == Reply::ended(&payload), "{hook}: {}", text(&reply.bytes));
        // Without the error, probing for the size takes six seconds and more.
        assert!(elapsed < Duration::from_secs(4), "{hook}: took {elapsed:?}");
        assert!(packets(&foreword, "steered_icmp") > 0, "{hook}: no ICMP error was steered");
    }
}
