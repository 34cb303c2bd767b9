//! Fragments of TCP, of which only the first tells the ports: steering can't lead the others after
//! it.

use std::net::SocketAddr;

use xtask::lab::{Family, wait_until};

use super::run_python;
use crate::backend::echo;
use crate::client::{PATIENCE, Reply};
use crate::counters::Counters;
use crate::hooks::hooks;
use crate::maps::packets;
use crate::probe::assert_served;
use crate::scene::{OFF, PORT, REQUIRE, Scene};

both_families!(they_are_dropped_where_a_header_is_required, they_go_their_ordinary_way_elsewhere);

/// Counts at the backend what comes straight from the client, put together again.
fn count_direct_packets(scene: &Scene) -> Counters<'_> {
    let ip = if scene.family == Family::V4 { "ip" } else { "ip6" };
    let from_client = format!("{ip} saddr {} tcp dport {PORT}", scene.family.lb());
    Counters::new(&scene.lab.backend, "input", &[("direct", &from_client)])
}

fn send_fragments(scene: &Scene, source: SocketAddr) {
    run_python(scene, include_str!("fragments.py"), source);
}

/// Waits until this counter is 1, which only the first one of two fragments can bring about.
#[track_caller]
fn wait_for_packets(scene: &Scene, counter: &str) {
    let mut number = 0;
    let waited = wait_until(PATIENCE, counter, || {
        number = packets(&scene.foreword, counter);
        number > 0
    });
    assert!(waited.is_ok() && number == 1, "{counter}: {number}");
}

/// Nothing may get by there, and a fragment does not tell what it is part of.
fn they_are_dropped_where_a_header_is_required(family: Family) {
    for hook in hooks() {
        let scene = Scene::serving(family, &[REQUIRE, "--outbound v1 --hook", hook], echo);
        let counters = count_direct_packets(&scene);
        send_fragments(&scene, SocketAddr::new(family.lb(), 40_003));
        wait_for_packets(&scene, "fragment_dropped");
        // Served behind them, so that they can't have been merely late.
        assert_served(&scene.lab, &scene.backend, family);
        assert_eq!(counters.packets("direct"), 0, "{hook}");
    }
}

/// But those of a connection of ours, which the host would reset, are dropped there as well.
fn they_go_their_ordinary_way_elsewhere(family: Family) {
    for hook in hooks() {
        let scene = Scene::serving(family, &[OFF, "--outbound none --hook", hook], echo);
        let counters = count_direct_packets(&scene);
        send_fragments(&scene, SocketAddr::new(family.lb(), 40_003));
        wait_for_packets(&scene, "fragment_passed");
        wait_until(PATIENCE, "a SYN from the client", || counters.packets("direct") > 0)
            .unwrap_or_else(|error| panic!("{hook}: {error}"));
        assert_eq!(packets(&scene.foreword, "fragment_dropped"), 0, "{hook}");

        let mut client = scene.connect();
        send_fragments(&scene, client.address());
        wait_for_packets(&scene, "fragment_dropped");
        client.send(b"still here");
        assert_eq!(client.finish_and_rest(), Reply::ended(b"still here"));
    }
}
