//! Beginning and end: what attaching touches, what each way of stopping leaves.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netlab::{
    Backend, Client, Family, Lab, OFF, PATIENCE, PORT, Reply, Scene, echo, lab, wait_until,
};
use nix::sys::signal::Signal;

use crate::FOREWORD;
use crate::footprint::{Footprint, NodeState};
use crate::probe::{
    FLAGS, assert_peer_is_named, assert_served, attach_and_serve, cleanup, echoes, flows_directly,
};

#[apply(lab_test)]
fn attaching_ten_times_leaves_nothing() {
    let lab = lab();
    let backends = echoes(&lab);
    let before = NodeState::of(&lab.node);
    for _ in 0..10 {
        let (mut foreword, footprint) = attach_and_serve(&lab, &backends, FLAGS);
        assert_ne!(NodeState::of(&lab.node), before, "an attached node looks different");
        let status = foreword.terminate().expect("it ends after SIGTERM");
        assert_eq!(status.code(), Some(0), "{}", foreword.output());
        footprint.assert_gone(&lab.node);
        before.assert_restored(&lab.node);
    }
}

#[apply(lab_test)]
fn what_is_attached_is_said_in_a_few_lines() {
    let lab = lab();
    let foreword = FOREWORD.attach(&lab.node, FLAGS);
    let output = foreword.output();
    let lines: Vec<_> = output.lines().collect();
    assert!((2..=10).contains(&lines.len()), "{output}");
    for word in ["eth0", "80", "require", "10.77.1.2", "fd77:1::2", "v1"] {
        assert!(output.contains(word), "no {word} in:\n{output}");
    }
    assert!(lines.last().is_some_and(|line| line.starts_with("ready")), "{output}");
}

/// One for each interface: they do not meet, and the end of one leaves the other alone.
#[apply(lab_test)]
fn two_instances_share_a_node() {
    let lab = lab();
    let family = Family::V4;
    let on_node = Backend::start(&lab.node, SocketAddr::new(family.node(), PORT), echo);
    let assert_inner_is_served =
        || assert_peer_is_named(&lab.backend, family.backend(), on_node.address());
    let backends = echoes(&lab);
    let mut inner = FOREWORD.attach(&lab.node, &format!("eth1 --port {PORT} {OFF} --outbound v1"));
    let before = NodeState::of(&lab.node);
    let (mut outer, footprint) = attach_and_serve(&lab, &backends, FLAGS);
    assert_inner_is_served();
    assert_eq!(outer.terminate().expect("it ends").code(), Some(0));
    footprint.assert_gone(&lab.node);
    before.assert_restored(&lab.node);
    assert_inner_is_served();
    assert_eq!(inner.terminate().expect("it ends").code(), Some(0));
}

#[apply(lab_test)]
fn clsact_leaves_nothing() {
    let lab = lab();
    let backends = echoes(&lab);
    let before = NodeState::of(&lab.node);
    let flags = format!("{FLAGS} --hook clsact");
    let (mut foreword, footprint) = attach_and_serve(&lab, &backends, &flags);
    assert_eq!(foreword.terminate().expect("it ends after SIGTERM").code(), Some(0));
    footprint.assert_gone(&lab.node);
    before.assert_restored(&lab.node);
}

#[apply(lab_test)]
fn sigint_detaches_as_well() {
    let lab = lab();
    let before = NodeState::of(&lab.node);
    let mut foreword = FOREWORD.attach(&lab.node, FLAGS);
    let footprint = Footprint::of(foreword.pid(), &lab.node);
    foreword.signal(Signal::SIGINT).expect("it runs");
    assert_eq!(foreword.wait(PATIENCE).expect("it ends after SIGINT").code(), Some(0));
    footprint.assert_gone(&lab.node);
    before.assert_restored(&lab.node);
}

/// Moments to interrupt a start at, from before its first step to after its last. How long a start
/// takes is measured once.
fn moments(lab: &Lab) -> impl Iterator<Item = Duration> + use<> {
    let begin = Instant::now();
    let mut complete = FOREWORD.attach(&lab.node, FLAGS);
    let whole = begin.elapsed();
    complete.terminate().expect("it ends after SIGTERM");
    (0..10).map(move |step| whole * step / 8)
}

#[apply(lab_test)]
fn a_signal_during_the_start_leaves_nothing() {
    let lab = lab();
    let before = NodeState::of(&lab.node);
    let flags: Vec<_> = FLAGS.split_whitespace().collect();
    for moment in moments(&lab) {
        let mut starting = FOREWORD.spawn(&lab.node, &flags);
        sleep(moment);
        let _ = starting.terminate().expect("it ends after SIGTERM");
        Footprint::by_name(starting.pid()).assert_gone(&lab.node);
        before.assert_restored(&lab.node);
    }
}

/// `cleanup` removes what the dead left, and nothing of an instance that serves.
#[apply(lab_test)]
fn cleanup_spares_the_living() {
    let lab = lab();
    let backends = echoes(&lab);
    let (mut foreword, footprint) = attach_and_serve(&lab, &backends, FLAGS);
    let before = footprint.remains(&lab.node);
    cleanup(&lab.node);
    assert_eq!(footprint.remains(&lab.node), before);
    for (family, backend) in Family::BOTH.into_iter().zip(&backends) {
        assert_served(&lab, backend, family);
    }
    assert_eq!(foreword.terminate().expect("it ends").code(), Some(0));
    footprint.assert_gone(&lab.node);
}

/// One connection in the middle of a conversation.
fn talking(scene: &Scene) -> Client {
    let mut client = scene.connect();
    client.send(b"before");
    assert_eq!(client.receive(6), b"before");
    client
}

#[apply(both_families)]
fn a_live_connection_is_drained(family: Family) {
    let mut scene = FOREWORD.scene_serving(family, &[OFF, "--outbound none"], echo);
    let footprint = Footprint::of(scene.foreword.pid(), &scene.lab.node);
    let mut live = talking(&scene);
    scene.foreword.signal(Signal::SIGTERM).expect("it runs");

    wait_until(Duration::from_secs(2), "a direct connection", || {
        flows_directly(&scene.lab, &scene.backend, family)
    })
    .expect("new connections flow directly while it drains");
    for _ in 0..20 {
        live.send(b"during");
        assert_eq!(live.receive(6), b"during");
        sleep(Duration::from_millis(50));
    }
    assert!(scene.foreword.is_running(), "it waits for the connection");
    assert_eq!(live.finish_and_rest(), Reply::ended(b""));
    let status = scene.foreword.wait(Duration::from_secs(3)).expect("nothing keeps it any longer");
    assert_eq!(status.code(), Some(0), "{}", scene.foreword.output());
    footprint.assert_gone(&scene.lab.node);
}

#[apply(both_families)]
fn the_drain_has_a_time_limit(family: Family) {
    let flags = [OFF, "--outbound none --drain-timeout 2s"];
    let mut scene = FOREWORD.scene_serving(family, &flags, echo);
    let footprint = Footprint::of(scene.foreword.pid(), &scene.lab.node);
    let mut live = talking(&scene);
    let begin = Instant::now();
    scene.foreword.signal(Signal::SIGTERM).expect("it runs");
    live.rest().assert_cut("at the end of the drain");
    let after = begin.elapsed().as_secs_f32();
    assert!((1.5..4.0).contains(&after), "cut after {after:.1} s");
    let status = scene.foreword.wait(Duration::from_secs(3)).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", scene.foreword.output());
    footprint.assert_gone(&scene.lab.node);
}

/// For whoever does not want to wait for the drain; it detaches all the same.
#[apply(both_families)]
fn a_second_signal_ends_at_once(family: Family) {
    let mut scene = FOREWORD.scene_serving(family, &[OFF, "--outbound none"], echo);
    let footprint = Footprint::of(scene.foreword.pid(), &scene.lab.node);
    let mut live = talking(&scene);
    scene.foreword.signal(Signal::SIGTERM).expect("it runs");
    sleep(Duration::from_millis(300));
    assert!(scene.foreword.is_running(), "it drains");
    scene.foreword.signal(Signal::SIGINT).expect("it runs");
    scene.foreword.wait(Duration::from_secs(2)).expect("it ends at once");
    live.rest().assert_cut("after the second signal");
    footprint.assert_gone(&scene.lab.node);
}
