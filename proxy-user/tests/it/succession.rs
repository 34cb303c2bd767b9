//! Takeovers that do not go as they should: a successor that dies, a predecessor that is stuck or
//! already on its way out, a stranger at the probes' address.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use netlab::{
    Backend, Client, Config, ConfigFile, Family, Foreword, Lab, OFF, PATIENCE, PORT, Rule, echo,
    hooks, lab, wait_until,
};
use nix::libc;
use nix::sys::signal::Signal;

use crate::FOREWORD;
use crate::admin::get;
use crate::config_file::{rule, wait_for};
use crate::fault::{self, Call, Consequence, During, Fault};
use crate::flood::say;
use crate::lock::{owner, signal};
use crate::probe::{FLAGS, assert_peer_is_named, assert_served, cleanup, echoes};
use crate::talk::Talk;

/// A process with a drain as long as its connections, which writes no header: the successor does.
struct Predecessor {
    lab: Lab,
    backend: Backend,
    foreword: Foreword,
    flags: String,
}

impl Predecessor {
    fn start(hook: &str) -> Self {
        let lab = lab();
        let backend = Backend::start(&lab.backend, (Family::V4.vip(), PORT).into(), echo);
        let flags = format!("eth0 --port {PORT} {OFF} --drain-timeout 10m --hook {hook}");
        let foreword = FOREWORD.attach(&lab.node, &format!("{flags} --outbound none"));
        Self { lab, backend, foreword, flags }
    }

    fn talk(&self) -> Talk {
        let lb = Family::V4.lb();
        Talk::begin(Client::connect(&self.lab.client, lb, self.backend.address()))
    }

    fn successor(&self) -> Foreword {
        FOREWORD.attach(&self.lab.node, &format!("{} --outbound v1 --take-over", self.flags))
    }

    /// New connections are the successor's.
    fn assert_succeeded(&self) {
        assert_peer_is_named(&self.lab.client, Family::V4.lb(), self.backend.address());
    }

    /// Whether somebody has the lock.
    fn is_locked(&self) -> bool {
        let flags = format!("{} --outbound v1", self.flags);
        let flags: Vec<_> = flags.split_whitespace().collect();
        let mut refused = FOREWORD.spawn(&self.lab.node, &flags);
        let _ = refused.wait_for_line("ready", PATIENCE);
        let _ = refused.terminate();
        refused.output().contains("is already steered")
    }
}

#[apply(lab_test)]
fn a_successor_that_dies_half_way_is_replaced_on_tcx() {
    if hooks().contains(&"tcx") {
        a_successor_that_dies_half_way_is_replaced("tcx");
    }
}

#[apply(lab_test)]
fn a_successor_that_dies_half_way_is_replaced_on_clsact() {
    a_successor_that_dies_half_way_is_replaced("clsact");
}

/// Wherever it dies while it asks, takes locks and tells of itself, the predecessor serves on, its own
/// connections go on, and a whole takeover succeeds afterwards.
fn a_successor_that_dies_half_way_is_replaced(hook: &str) {
    const CALLS: [Call; 4] = [
        (libc::SYS_sendmsg, "sendmsg"),
        (libc::SYS_recvmsg, "recvmsg"),
        (libc::SYS_pwrite64, "pwrite64"),
        (libc::SYS_ftruncate, "ftruncate"),
    ];
    let lab = lab();
    let [backend, _] = echoes(&lab);
    let flags = format!("{FLAGS} --guard-hook native --when-absent drop --hook {hook}");
    let mut first = FOREWORD.attach(&lab.node, &flags);
    let arguments = format!("attach {flags} --take-over");
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let mut deaths = 0;
    for number in 0.. {
        let (during, consequence) = (During::Start, Consequence::Death);
        let fault = Fault { during, calls: &CALLS, number, consequence };
        let ended = fault::run(&lab.node, FOREWORD.path(), &arguments, fault, |_| {});
        let Some(call) = ended.failed else { break };
        deaths += 1;
        let when = format!("{hook}: death at call {number}, {call}");
        assert!(first.is_running(), "{when}: {}", first.output());
        // Whoever was asked last is back before a client has to try twice.
        let back = first.output().matches("succeeded").count();
        wait_for(&first, "back: the successor has ended", back);
        assert_served(&lab, &backend, Family::V4);
    }
    let back = first.output().matches("back: the successor has ended").count();
    say(&format!("{hook}: {deaths} deaths of successors, {back} of them half-way"));
    assert!(back > 2, "hardly a successor has died half-way: {}", first.output());
    // The last one has lived, and was ended within the time in which it can still be replaced, or
    // after that: then the first has gone, too.
    if first.wait(PATIENCE).is_err() {
        assert_served(&lab, &backend, Family::V4);
        let mut last = FOREWORD.attach(&lab.node, &format!("{flags} --take-over"));
        first.wait(PATIENCE).expect("it has nothing to wait for");
        assert_served(&lab, &backend, Family::V4);
        last.terminate().expect("it ends after SIGTERM");
    }
    cleanup(&lab.node);
}

/// It has said that it serves, and is killed.
#[apply(lab_test)]
fn a_successor_that_dies_at_once_is_replaced() {
    for hook in hooks() {
        let mut first = Predecessor::start(hook);
        let talk = first.talk();
        for times in 1..3 {
            let mut second = first.successor();
            wait_for(&first.foreword, "succeeded", times);
            second.kill().expect("it runs");
            wait_for(&first.foreword, "back: the successor has ended", times);
            first.talk().end();
            assert!(first.is_locked(), "{hook}: {}", first.foreword.output());
            talk.assert_goes_on("with the first alone again");
        }
        let _second = first.successor();
        first.assert_succeeded();
        talk.end();
        first.foreword.wait(PATIENCE).expect("it ends with its connections");
        first.assert_succeeded();
    }
}

/// While processes take over from each other, a stranger of the same user tries to listen as well.
#[apply(lab_test)]
fn probes_are_answered_by_ours_alone() {
    let lab = lab();
    let _backends = echoes(&lab);
    let config = rule(PORT, "v1").with("admin: { http: \"127.0.0.1:9478\" }");
    let config = ConfigFile::saying(config);
    let mut run = FOREWORD.run(&lab.node, &config);
    let (over, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    let stranger = "import socket, sys\n\
        s = socket.socket()\n\
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n\
        s.bind((sys.argv[1], 9478)); s.listen(); print('listens')\n";
    scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let (status, body) = get(&lab, "/readyz");
                let is_ours = matches!(body.as_str(), "ready\n" | "draining\n");
                assert!(is_ours && status != "000", "{status} {body:?}");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for address in ["127.0.0.1", "0.0.0.0"] {
                    let mut python = lab.node.command("python3");
                    let output = python.args(["-c", stranger, address]).output().expect("python");
                    assert!(!output.status.success(), "a stranger listens at {address}");
                }
            }
        });
        for _ in 0..3 {
            let next = FOREWORD.run(&lab.node, &config);
            run.wait(PATIENCE).expect("it has nothing to wait for");
            run = next;
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(asked.into_inner() > 10);
    assert_eq!(get(&lab, "/readyz"), ("200".to_owned(), "ready\n".to_owned()));
}

#[apply(lab_test)]
fn a_signal_after_a_handover_is_the_first_one() {
    for hook in hooks() {
        let mut first = Predecessor::start(hook);
        let talk = first.talk();
        let _second = first.successor();
        wait_for(&first.foreword, "draining 1 connections", 1);
        first.foreword.signal(Signal::SIGTERM).expect("it runs");
        wait_for(&first.foreword, "draining 1 connections", 2);
        sleep(Duration::from_millis(500));
        talk.assert_goes_on("after the first signal");
        assert!(first.foreword.is_running(), "{}", first.foreword.output());
        drop(talk);
        first.foreword.wait(PATIENCE).expect("it ends with its connections");
    }
}

/// It has been told to end, and has a connection: another start finds everything free.
#[apply(lab_test)]
fn a_process_that_drains_makes_way_at_once() {
    for hook in hooks() {
        let lab = lab();
        let [echo, _] = echoes(&lab);
        let config = |version: &str| {
            let rule = Rule::new("web", PORT).outbound(version).with("whenAbsent: drop");
            let config = Config::on("eth0").with("admin: { http: \"127.0.0.1:9478\" }").rule(rule);
            ConfigFile::saying(config.with("drainTimeout: 10m").with(format!("hook: {hook}")))
        };
        let unnamed = config("none");
        let mut first = FOREWORD.run(&lab.node, &unnamed);
        let client = Client::connect(&lab.client, Family::V4.lb(), echo.address());
        let talk = Talk::begin(client);
        first.signal(Signal::SIGTERM).expect("it runs");
        wait_for(&first, "draining 1 connections", 1);
        assert_eq!(get(&lab, "/readyz").1, "draining\n");
        // With another header, so that it shows who serves.
        let named = config("v1");
        let begun = Instant::now();
        let second = FOREWORD.run(&lab.node, &named);
        say(&format!("{hook}: beside a draining one, a start takes {:?}", begun.elapsed()));
        assert_peer_is_named(&lab.client, Family::V4.lb(), echo.address());
        assert_eq!(get(&lab, "/readyz"), ("200".to_owned(), "ready\n".to_owned()));
        talk.assert_goes_on("beside the successor");
        // What sweeps finds nothing that is dead.
        cleanup(&lab.node);
        talk.assert_goes_on("after a cleanup");
        talk.end();
        first.wait(PATIENCE).expect("it ends with its connections");
        assert_peer_is_named(&lab.client, Family::V4.lb(), echo.address());
        drop(second);
        cleanup(&lab.node);
    }
}

/// New connections are the successor's at once; what it could not have yet it takes later.
#[apply(lab_test)]
fn a_predecessor_that_is_stuck_is_told() {
    for (hook, wakes) in hooks().iter().zip([true, false].into_iter().cycle()) {
        let mut first = Predecessor::start(hook);
        let talk = first.talk();
        signal(&first.foreword, Signal::SIGSTOP);
        let mut second = first.successor();
        assert!(second.output().contains("is stuck"), "{}", second.output());
        first.assert_succeeded();
        if wakes {
            signal(&first.foreword, Signal::SIGCONT);
            wait_for(&first.foreword, "succeeded", 1);
            talk.assert_goes_on("after it woke up");
            talk.end();
            first.foreword.wait(PATIENCE).expect("it ends with its connections");
        } else {
            first.foreword.kill().expect("it is there");
        }
        wait_until(PATIENCE, "the lock", || owner(&first.lab.node) == Some(second.pid()))
            .unwrap_or_else(|error| panic!("{hook}: {error}: {}", second.output()));
        first.assert_succeeded();
        assert!(second.is_running(), "{}", second.output());
    }
}
