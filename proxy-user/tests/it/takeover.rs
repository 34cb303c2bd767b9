//! A second Foreword that takes over from the first: nobody is refused, nobody is cut off.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use netlab::header::v1;
use netlab::{
    Backend, Client, Family, Foreword, OFF, PATIENCE, PORT, Reply, echo, hooks, join, lab,
    wait_until,
};

use crate::FOREWORD;
use crate::flood::say;
use crate::footprint::{Footprint, NodeState};
use crate::probe::{FLAGS, assert_served, cleanup, flows_directly};
use crate::talk::Talk;

const LOOPS: usize = 8;
/// What drains until its connections end, however slow the machine is.
const PATIENT: &str = "--drain-timeout 10m --outbound none --hook";

/// Connects over and over, while one process after the other takes over.
#[apply(both_families)]
fn new_connections_go_to_the_successor_without_a_failure(family: Family) {
    for hook in hooks() {
        let flags = format!("eth0 --port {PORT} {OFF} --outbound v1 --take-over --hook {hook}");
        let scene = FOREWORD.scene_serving(family, &[OFF, "--outbound v1 --hook", hook], echo);
        let (over, served, failed) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
        let mut foreword = scene.foreword;
        let begun = Instant::now();
        scope(|scope| {
            for _ in 0..LOOPS {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let is_served = is_named(&scene.lab, family, scene.backend.address());
                        let count = if is_served { &served } else { &failed };
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..3 {
                let successor = FOREWORD.attach(&scene.lab.node, &flags);
                let status = foreword.wait(PATIENCE).expect("it ends when nothing is left to do");
                assert_eq!(status.code(), Some(0), "{}", foreword.output());
                foreword = successor;
            }
            over.store(true, Ordering::Relaxed);
        });
        let (served, failed) = (served.into_inner(), failed.into_inner());
        let rate = f64::from(served) / begun.elapsed().as_secs_f64();
        say(&format!(
            "takeover {family:?} {hook}: {served} connections, {rate:.0} a second, {failed} failed"
        ));
        assert_eq!(failed, 0, "{hook}: of {served}");
        assert!(served > 100, "{hook}: {served}");
    }
}

fn is_named(lab: &netlab::Lab, family: Family, to: SocketAddr) -> bool {
    let Ok(mut client) = Client::try_connect(&lab.client, family.lb(), to) else { return false };
    let expected = join(&v1(client.address(), to), b"hello");
    client.offer(b"hello");
    client.finish_and_rest() == Reply::ended(&expected)
}

#[apply(both_families)]
fn connections_of_both_go_on_to_their_end(family: Family) {
    for hook in hooks() {
        let mut scene = FOREWORD.scene_serving(family, &[OFF, PATIENT, hook], echo);
        let footprint = Footprint::of(scene.foreword.pid(), &scene.lab.node);
        let of_first: Vec<_> = (0..5).map(|_| Talk::begin(scene.connect())).collect();
        let flags = format!("eth0 --port {PORT} {OFF} --take-over {PATIENT} {hook}");
        let second = FOREWORD.attach(&scene.lab.node, &flags);
        wait_for_word(&scene.foreword, "succeeded");
        let of_second: Vec<_> = (0..5).map(|_| Talk::begin(scene.connect())).collect();
        for talk in of_first.iter().chain(&of_second) {
            talk.assert_goes_on("with both there");
        }
        assert!(scene.foreword.is_running(), "its connections are not done");
        for talk in of_first {
            talk.end();
        }
        let status = scene.foreword.wait(PATIENCE).expect("it ends with its connections");
        assert_eq!(status.code(), Some(0), "{}", scene.foreword.output());
        footprint.assert_gone(&scene.lab.node);
        for talk in of_second {
            talk.assert_goes_on("with the successor alone");
            talk.end();
        }
        drop(second);
    }
}

#[track_caller]
fn wait_for_word(foreword: &Foreword, word: &str) {
    wait_until(PATIENCE, word, || foreword.output().contains(word))
        .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
}

/// One that was there before either of them.
#[apply(both_families)]
fn connections_of_nobody_go_on_untouched(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
        let talk = Talk::begin(Client::connect(&lab.client, family.lb(), backend.address()));
        let flags = format!("{FLAGS} --take-over --hook {hook}");
        let mut first = FOREWORD.attach(&lab.node, &flags);
        talk.assert_goes_on("with the first");
        let mut second = FOREWORD.attach(&lab.node, &flags);
        talk.assert_goes_on("with both");
        first.wait(PATIENCE).expect("it has nothing to wait for");
        talk.assert_goes_on("with the second");
        second.terminate().expect("it ends after SIGTERM");
        talk.assert_goes_on("with none");
        talk.end();
    }
}

/// A third comes while the first is not done: three are on the interface then.
#[apply(both_families)]
fn a_takeover_can_be_taken_over(family: Family) {
    for hook in hooks() {
        let scene = FOREWORD.scene_serving(family, &[OFF, PATIENT, hook], echo);
        let before = Talk::begin(scene.connect());
        let flags = format!("eth0 --port {PORT} {OFF} --take-over {PATIENT} {hook}");
        let mut second = FOREWORD.attach(&scene.lab.node, &flags);
        let between = Talk::begin(scene.connect());
        let third = FOREWORD.attach(&scene.lab.node, &flags);
        let after = Talk::begin(scene.connect());
        // What sweeps finds nothing that is dead.
        cleanup(&scene.lab.node);
        for talk in [&before, &between, &after] {
            talk.assert_goes_on("with three there");
        }
        between.end();
        second.wait(PATIENCE).expect("it ends before the first does");
        for talk in [before, after] {
            talk.assert_goes_on("without the second");
            talk.end();
        }
        drop(third);
    }
}

#[apply(lab_test)]
fn without_a_predecessor_it_is_a_start() {
    for hook in hooks() {
        let lab = lab();
        let before = NodeState::of(&lab.node);
        let backend = Backend::start(&lab.backend, (Family::V4.vip(), PORT).into(), echo);
        let mut foreword =
            FOREWORD.attach(&lab.node, &format!("{FLAGS} --take-over --hook {hook}"));
        assert_served(&lab, &backend, Family::V4);
        foreword.terminate().expect("it ends after SIGTERM");
        before.assert_restored(&lab.node);
    }
}

/// The kernel has one XDP program on an interface.
#[apply(lab_test)]
fn a_guard_in_xdp_changes_hands() {
    let lab = lab();
    let backend = Backend::start(&lab.backend, (Family::V4.vip(), PORT).into(), echo);
    let flags = format!("{FLAGS} --take-over --guard-hook native");
    let mut first = FOREWORD.attach(&lab.node, &flags);
    let second = FOREWORD.attach(&lab.node, &flags);
    assert!(second.output().contains("guard     eth0 (native XDP)"), "{}", second.output());
    first.wait(PATIENCE).expect("it has nothing to wait for");
    assert_served(&lab, &backend, Family::V4);
    let patience = Duration::from_millis(300);
    let stranger = Family::V4.stranger();
    let attempt = Client::try_connect_within(&lab.client, stranger, backend.address(), patience);
    assert!(attempt.is_err(), "the stranger is in");
}

#[apply(lab_test)]
fn a_hold_changes_hands() {
    for hook in hooks() {
        let lab = lab();
        let backend = Backend::start(&lab.backend, (Family::V4.vip(), PORT).into(), echo);
        let flags = format!("{FLAGS} --take-over --when-absent drop --hook {hook}");
        let mut first = FOREWORD.attach(&lab.node, &flags);
        let mut second = FOREWORD.attach(&lab.node, &flags);
        first.wait(PATIENCE).expect("it has nothing to wait for");
        second.kill().expect("it runs");
        let patience = Duration::from_millis(300);
        let from = Family::V4.lb();
        let attempt = Client::try_connect_within(&lab.client, from, backend.address(), patience);
        assert!(attempt.is_err(), "{hook}: it is held");
        cleanup(&lab.node);
        assert!(flows_directly(&lab, &backend, Family::V4), "{hook}: it was held once only");
    }
}

#[apply(lab_test)]
fn the_dead_predecessor_is_no_obstacle() {
    for hook in hooks() {
        let lab = lab();
        let before = NodeState::of(&lab.node);
        let backend = Backend::start(&lab.backend, (Family::V4.vip(), PORT).into(), echo);
        let flags = format!("{FLAGS} --take-over --hook {hook}");
        FOREWORD.attach(&lab.node, &flags).kill().expect("it runs");
        let mut second = FOREWORD.attach(&lab.node, &flags);
        assert_served(&lab, &backend, Family::V4);
        second.terminate().expect("it ends after SIGTERM");
        before.assert_restored(&lab.node);
    }
}

/// The second interface is not there: the first Foreword never hears of it.
#[apply(lab_test)]
fn a_takeover_that_fails_changes_nothing() {
    for hook in hooks() {
        let lab = lab();
        let backend = Backend::start(&lab.backend, (Family::V4.vip(), PORT).into(), echo);
        lab.node.ip("link add last link eth1 type macvlan").expect("root may make links");
        let mut first = FOREWORD.attach(&lab.node, &format!("{FLAGS} --hook {hook}"));
        let state = NodeState::of(&lab.node);
        let flags = format!("{FLAGS} --take-over --guard-hook native --hook {hook}");
        let flags = flags.replace("eth0", "eth0 last");
        let flags: Vec<_> = flags.split_whitespace().collect();
        let mut failing = FOREWORD.spawn(&lab.node, &flags);
        let status = failing.wait(PATIENCE).expect("it ends by itself");
        assert_eq!(status.code(), Some(1), "{}", failing.output());
        state.assert_restored(&lab.node);
        assert!(first.is_running() && !first.output().contains("succeeded"), "{hook}");
        assert_served(&lab, &backend, Family::V4);
    }
}

/// The filters on `eth0`, a line each.
fn filters(node: &netlab::Netns) -> String {
    let show = |direction| {
        let mut tc = node.command("tc");
        tc.args(["filter", "show", "dev", "eth0", direction]);
        netlab::output_of(tc)
    };
    show("ingress") + &show("egress")
}

fn steering(filters: &str) -> usize {
    filters.lines().filter(|line| line.contains("foreword_steer")).count()
}

/// Whoever is killed leaves its filters on clsact. They can be told from those of one that still
/// drains, which has the same names.
#[apply(lab_test)]
fn filters_of_the_killed_go_while_another_drains() {
    let lab = lab();
    let before = NodeState::of(&lab.node);
    let backend = Backend::start(&lab.backend, (Family::V4.vip(), PORT).into(), echo);
    let flags = format!("eth0 --port {PORT} {OFF} --take-over {PATIENT} clsact");
    let mut first = FOREWORD.attach(&lab.node, &flags);
    let talk = Talk::begin(Client::connect(&lab.client, Family::V4.lb(), backend.address()));
    let mut second = FOREWORD.attach(&lab.node, &flags);
    // From then on it no longer comes back.
    wait_for_word(&first, "draining");
    second.kill().expect("it runs");
    assert_eq!(steering(&filters(&lab.node)), 2, "of the first and the second");
    let mut third = FOREWORD.attach(&lab.node, &flags);
    talk.assert_goes_on("with the third");
    let left = filters(&lab.node);
    assert_eq!(steering(&left), 2, "of the first and the third: {left}");
    talk.end();
    first.wait(PATIENCE).expect("it ends with its connections");
    let left = filters(&lab.node);
    assert_eq!(steering(&left), 1, "of the third: {left}");
    third.terminate().expect("it ends after SIGTERM");
    before.assert_restored(&lab.node);
}

#[apply(lab_test)]
fn takeovers_and_kills_leave_nothing() {
    for hook in hooks() {
        let lab = lab();
        let before = NodeState::of(&lab.node);
        let backend = Backend::start(&lab.backend, (Family::V4.vip(), PORT).into(), echo);
        let flags = format!("{FLAGS} --take-over --hook {hook}");
        let mut last = FOREWORD.attach(&lab.node, &flags);
        for round in 0..6 {
            if round % 3 == 2 {
                last.kill().expect("it runs");
            }
            let next = FOREWORD.attach(&lab.node, &flags);
            assert_served(&lab, &backend, Family::V4);
            last = next;
        }
        last.terminate().expect("it ends after SIGTERM");
        before.assert_restored(&lab.node);
    }
}
