//! Mishaps: Foreword is killed, interrupted in the middle of its start, or robbed of its interface.

use std::thread::sleep;
use std::time::{Duration, Instant};

use xtask::lab::{Family, Foreword, Lab, wait_until};

use crate::backend::echo;
use crate::client::Client;
use crate::footprint::{Footprint, NodeState};
use crate::hooks::hooks;
use crate::probe::{FLAGS, assert_served, attach_and_serve, cleanup, echoes, flows_directly};
use crate::scene::{OFF, REQUIRE, Scene, attach, lab};
use crate::setup::foreword;

both_families!(after_sigkill_connections_flow_directly, after_sigkill_no_connection_hangs);

any_family!(
    after_sigkill_cleanup_leaves_nothing,
    after_sigkill_of_clsact_cleanup_leaves_nothing,
    after_sigkill_the_next_start_leaves_nothing,
    a_signal_during_the_start_leaves_nothing,
    sigkill_during_the_start_leaves_nothing_to_cleanup,
    an_interface_that_goes_away_is_no_obstacle,
);

fn after_sigkill_connections_flow_directly(family: Family) {
    for hook in ["auto", "clsact"] {
        let scene = Scene::serving(family, &[REQUIRE, "--outbound v1 --hook", hook], echo);
        let Scene { mut foreword, backend, lab, .. } = scene;
        assert_served(&lab, &backend, family);
        assert!(!flows_directly(&lab, &backend, family), "Foreword is still there");
        foreword.kill().expect("it runs");
        wait_until(Duration::from_secs(1), "a direct connection", || {
            flows_directly(&lab, &backend, family)
        })
        .unwrap_or_else(|error| panic!("{hook}: {error}"));
        for _ in 0..10 {
            assert!(flows_directly(&lab, &backend, family), "{hook}: and so it stays");
        }
        cleanup(&lab.node);
    }
}

/// Connections die with the process that relays them, but at once.
fn after_sigkill_no_connection_hangs(family: Family) {
    let scene = Scene::serving(family, &[OFF, "--outbound none"], echo);
    let mut clients: Vec<_> = (0..20).map(|_| scene.connect()).collect();
    for client in &mut clients {
        client.send(b"hello");
        assert_eq!(client.receive(5), b"hello");
    }
    let Scene { mut foreword, lab, backend: _backend, .. } = scene;
    foreword.kill().expect("it runs");
    let begin = Instant::now();
    for client in &mut clients {
        client.rest_within(Duration::from_secs(2)).assert_cut("a live connection");
    }
    assert!(begin.elapsed() < Duration::from_secs(2), "ended after {:?}", begin.elapsed());
    cleanup(&lab.node);
}

fn after_sigkill_cleanup_leaves_nothing() {
    assert_swept_after_sigkill(FLAGS, |lab| cleanup(&lab.node));
}

fn after_sigkill_of_clsact_cleanup_leaves_nothing() {
    assert_swept_after_sigkill(&format!("{FLAGS} --hook clsact"), |lab| cleanup(&lab.node));
}

fn after_sigkill_the_next_start_leaves_nothing() {
    assert_swept_after_sigkill(FLAGS, |lab| {
        let mut foreword = attach(lab, FLAGS);
        assert_eq!(foreword.terminate().expect("it ends").code(), Some(0));
    });
}

/// Kills an instance with an open connection, lets `sweep` run, and looks for what is left.
fn assert_swept_after_sigkill(flags: &str, sweep: impl Fn(&Lab)) {
    let lab = lab();
    let backends = echoes(&lab);
    let before = NodeState::of(&lab.node);
    let (mut foreword, footprint) = attach_and_serve(&lab, &backends, flags);
    let open = Client::connect(&lab.client, Family::V4.lb(), backends[0].address());
    foreword.kill().expect("it runs");
    sweep(&lab);
    footprint.assert_gone(&lab.node);
    before.assert_restored(&lab.node);
    drop(open);
}

/// Moments to interrupt a start at, from before its first step to after its last. How long a start
/// takes is measured once.
fn moments(lab: &Lab) -> impl Iterator<Item = Duration> + use<> {
    let begin = Instant::now();
    let mut complete = attach(lab, FLAGS);
    let whole = begin.elapsed();
    complete.terminate().expect("it ends after SIGTERM");
    (0..10).map(move |step| whole * step / 8)
}

fn a_signal_during_the_start_leaves_nothing() {
    let lab = lab();
    let before = NodeState::of(&lab.node);
    let flags: Vec<_> = FLAGS.split_whitespace().collect();
    for moment in moments(&lab) {
        let mut starting = Foreword::spawn(&lab.node, foreword(), &flags).expect("it starts");
        sleep(moment);
        let _ = starting.terminate().expect("it ends after SIGTERM");
        Footprint::by_name(starting.pid()).assert_gone(&lab.node);
        before.assert_restored(&lab.node);
    }
}

fn sigkill_during_the_start_leaves_nothing_to_cleanup() {
    let lab = lab();
    let before = NodeState::of(&lab.node);
    for hook in hooks() {
        let flags: Vec<_> = FLAGS.split_whitespace().chain(["--hook", hook]).collect();
        for moment in moments(&lab) {
            let mut starting = Foreword::spawn(&lab.node, foreword(), &flags).expect("it starts");
            sleep(moment);
            starting.kill().expect("it runs");
            cleanup(&lab.node);
            Footprint::by_name(starting.pid()).assert_gone(&lab.node);
            before.assert_restored(&lab.node);
        }
    }
}

/// As when a container's interface is deleted before what was attached to it.
fn an_interface_that_goes_away_is_no_obstacle() {
    for hook in hooks() {
        let lab = lab();
        let backends = echoes(&lab);
        let flags = format!("{FLAGS} --hook {hook}");
        let (mut foreword, footprint) = attach_and_serve(&lab, &backends, &flags);
        lab.node.ip("link del eth0").expect("it is there");
        let status = foreword.terminate().expect("it ends after SIGTERM");
        assert_eq!(status.code(), Some(0), "{hook}: {}", foreword.output());
        footprint.assert_gone(&lab.node);
    }
}
