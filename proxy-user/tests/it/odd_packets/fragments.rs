//! Fragments of TCP, of which only the first tells the ports: steering can't lead the others after
//! it.

use std::net::SocketAddr;

use netlab::header::named_headers;
use netlab::{
    Family, OFF, OPTIONAL, PATIENCE, PORT, REQUIRE, Reply, Scene, echo, hooks, join, wait_until,
};

use super::run_python;
use crate::FOREWORD;
use crate::counters::Counters;
use crate::maps::packets;

/// Octets of the first fragment: without the flags, and with them.
const SPLITS: [&str; 2] = ["8", "24"];

/// Counts at the backend what comes straight from the client, put together again.
fn count_direct_packets(scene: &Scene) -> Counters<'_> {
    let ip = if scene.family == Family::V4 { "ip" } else { "ip6" };
    let from_client = format!("{ip} saddr {} tcp dport {PORT}", scene.family.lb());
    Counters::new(&scene.lab.backend, "input", &[("direct", &from_client)])
}

fn send_fragments(scene: &Scene, kind: &str, split: &str, source: SocketAddr) {
    run_python(scene, include_str!("fragments.py"), &[kind, split], source);
}

/// Waits until this counter is `expected`; only first fragments count.
#[track_caller]
fn wait_for_packets(scene: &Scene, counter: &str, expected: u64) {
    let mut number = 0;
    let waited = wait_until(PATIENCE, counter, || {
        number = packets(&scene.foreword, counter);
        number >= expected
    });
    assert!(waited.is_ok() && number == expected, "{counter}: {number}");
}

/// It would be put together behind us, and open a connection that nobody has judged.
#[apply(both_families)]
fn a_first_packet_in_fragments_opens_nothing(family: Family) {
    let refuse = format!("{OFF} --trust {}", family.lb());
    let limited = format!("{OFF} --syn-limit 1000");
    let direct = format!("{OPTIONAL} --untrusted direct");
    let rules = [REQUIRE, OPTIONAL, OFF, &refuse, &limited, &direct];
    for (rule, hook) in rules.into_iter().zip(hooks().iter().cycle()) {
        let scene = FOREWORD.scene_serving(family, &[rule, "--outbound v1 --hook", hook], echo);
        let counters = count_direct_packets(&scene);
        for (sent, split) in (1..).zip(SPLITS) {
            send_fragments(&scene, "SYN", split, SocketAddr::new(family.lb(), 40_003));
            wait_for_packets(&scene, "fragment_dropped", sent);
        }
        // Served behind them, so that they can't have been merely late.
        let mut client = scene.connect();
        client.send(&join(&named_headers(family)[1], b"hello"));
        assert!(client.finish_and_rest().bytes.ends_with(b"hello"), "{rule}, {hook}");
        assert_eq!(counters.packets("direct"), 0, "{rule}, {hook}");
    }
}

/// The host would reset them.
#[apply(both_families)]
fn those_of_a_connection_are_dropped(family: Family) {
    for hook in hooks() {
        let scene = FOREWORD.scene_serving(family, &[OFF, "--outbound none --hook", hook], echo);
        let mut client = scene.connect();
        for (sent, split) in (1..).zip(SPLITS) {
            send_fragments(&scene, "ACK", split, client.address());
            wait_for_packets(&scene, "fragment_dropped", sent);
        }
        client.send(b"still here");
        assert_eq!(client.finish_and_rest(), Reply::ended(b"still here"));
    }
}

/// Where nothing is restricted, a connection that began before us goes on.
#[apply(both_families)]
fn those_of_others_go_their_ordinary_way(family: Family) {
    for hook in hooks() {
        let scene = FOREWORD.scene_serving(family, &[OFF, "--outbound none --hook", hook], echo);
        let counters = count_direct_packets(&scene);
        send_fragments(&scene, "ACK", "24", SocketAddr::new(family.lb(), 40_003));
        wait_for_packets(&scene, "fragment_passed", 1);
        wait_until(PATIENCE, "an ACK from the client", || counters.packets("direct") > 0)
            .unwrap_or_else(|error| panic!("{hook}: {error}"));
        assert_eq!(packets(&scene.foreword, "fragment_dropped"), 0, "{hook}");
    }
}
