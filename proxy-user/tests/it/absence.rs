//! `--when-absent drop`: ports that stay closed while no Foreword runs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use netlab::{Backend, Client, Family, Foreword, Lab, PATIENCE, PORT, Reply, echo, hooks, lab};

use crate::FOREWORD;
use crate::footprint::NodeState;
use crate::probe::{FLAGS, assert_served, cleanup, flows_directly, is_held};
use crate::stranger::{Place, Stranger};
use crate::talk::Talk;

const NO_ANSWER: Duration = Duration::from_millis(200);

fn flags(hook: &str) -> String {
    format!("{FLAGS} --when-absent drop --hook {hook}")
}

fn server(lab: &Lab, family: Family, port: u16) -> Backend {
    Backend::start(&lab.backend, (family.vip(), port).into(), echo)
}

/// For a while, so that a moment of openness would be noticed.
#[track_caller]
fn assert_closed(lab: &Lab, family: Family, backend: &Backend) {
    let before = backend.connections();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(1) {
        let attempt =
            Client::try_connect_within(&lab.client, family.lb(), backend.address(), NO_ANSWER);
        assert!(attempt.is_err(), "open after {:?}", begin.elapsed());
    }
    assert_eq!(backend.connections(), before);
}

#[track_caller]
fn assert_echoed(lab: &Lab, family: Family, to: SocketAddr) {
    let mut client = Client::connect(&lab.client, family.lb(), to);
    client.send(b"hello");
    assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
}

#[apply(both_families)]
fn ports_stay_closed_after_a_kill(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let backend = server(&lab, family, PORT);
        let other = server(&lab, family, PORT + 1);
        let mut foreword = FOREWORD.attach(&lab.node, &flags(hook));
        assert_served(&lab, &backend, family);
        foreword.kill().expect("it runs");
        assert_closed(&lab, family, &backend);
        assert_echoed(&lab, family, other.address());
        // The next one takes over where the first has left.
        let mut foreword = FOREWORD.attach(&lab.node, &flags(hook));
        assert_served(&lab, &backend, family);
        foreword.kill().expect("it runs");
        assert_closed(&lab, family, &backend);
        cleanup(&lab.node);
        assert!(flows_directly(&lab, &backend, family), "{hook}: after a cleanup");
    }
}

#[apply(both_families)]
fn ports_stay_closed_after_an_orderly_end(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let backend = server(&lab, family, PORT);
        let mut foreword = FOREWORD.attach(&lab.node, &flags(hook));
        assert_served(&lab, &backend, family);
        foreword.terminate().expect("it ends after SIGTERM");
        let output = foreword.output();
        assert!(output.contains("held      eth0: `foreword cleanup` opens the ports"), "{output}");
        assert_closed(&lab, family, &backend);
        cleanup(&lab.node);
        assert!(flows_directly(&lab, &backend, family), "{hook}: after a cleanup");
    }
}

#[apply(both_families)]
fn a_start_without_it_opens_the_ports(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let backend = server(&lab, family, PORT);
        FOREWORD.attach(&lab.node, &flags(hook)).kill().expect("it runs");
        assert_closed(&lab, family, &backend);
        let mut foreword = FOREWORD.attach(&lab.node, &format!("{FLAGS} --hook {hook}"));
        assert_served(&lab, &backend, family);
        foreword.terminate().expect("it ends after SIGTERM");
        assert!(flows_directly(&lab, &backend, family), "{hook}: nothing is held any more");
    }
}

/// As in a container that mounts a BPF file system of its own: that goes with the process.
fn attach_with_own_bpffs(lab: &Lab, flags: &str) -> Foreword {
    let mut command = lab.node.command("unshare");
    command.args(["--mount", "sh", "-euc", "mount -t bpf bpf /sys/fs/bpf; exec \"$@\"", "sh"]);
    command.arg(FOREWORD.path()).arg("attach").args(flags.split_whitespace());
    Foreword::start(command).unwrap_or_else(|error| panic!("with its own bpffs: {error:#}"))
}

#[apply(both_families)]
fn ports_stay_closed_without_a_shared_bpffs(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let before = NodeState::of(&lab.node);
        let backend = server(&lab, family, PORT);
        let mut foreword = attach_with_own_bpffs(&lab, &flags(hook));
        assert_served(&lab, &backend, family);
        foreword.kill().expect("it runs");
        assert_closed(&lab, family, &backend);
        // The next one does not need to see what the first saw.
        let mut foreword = attach_with_own_bpffs(&lab, &format!("{FLAGS} --hook {hook}"));
        assert_served(&lab, &backend, family);
        foreword.terminate().expect("it ends after SIGTERM");
        assert!(flows_directly(&lab, &backend, family), "{hook}: lifted by the next start");
        attach_with_own_bpffs(&lab, &flags(hook)).kill().expect("it runs");
        assert_closed(&lab, family, &backend);
        cleanup(&lab.node);
        assert!(flows_directly(&lab, &backend, family), "{hook}: after a cleanup");
        before.assert_restored(&lab.node);
    }
}

#[apply(both_families)]
fn connections_from_before_go_on(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let backend = server(&lab, family, PORT);
        let talk = Talk::begin(Client::connect(&lab.client, family.lb(), backend.address()));
        let mut foreword = FOREWORD.attach(&lab.node, &flags(hook));
        talk.assert_goes_on("while attached");
        foreword.kill().expect("it runs");
        talk.assert_goes_on("while held");
        cleanup(&lab.node);
        talk.assert_goes_on("afterwards");
        talk.end();
    }
}

#[apply(lab_test)]
fn a_cleanup_leaves_nothing() {
    for hook in hooks() {
        let lab = lab();
        let before = NodeState::of(&lab.node);
        FOREWORD.attach(&lab.node, &flags(hook)).kill().expect("it runs");
        assert!(is_held(&lab.node), "{hook}: the hold can be seen");
        cleanup(&lab.node);
        assert!(!is_held(&lab.node), "{hook}");
        before.assert_restored(&lab.node);
    }
}

/// Another tool's filter keeps our qdisc when we are killed, and an instance in another network
/// namespace sweeps before we are back. The qdisc is still ours to remove.
#[apply(lab_test)]
fn a_qdisc_stays_ours_whoever_sweeps_meanwhile() {
    let (lab, other) = (lab(), lab());
    let before = NodeState::of(&lab.node);
    let flags = format!("{FLAGS} --hook clsact");
    let mut foreword = FOREWORD.attach(&lab.node, &flags);
    let _theirs = Stranger::at_tc(&lab.node, "eth0", "cali_from_node", Place::Clsact(30));
    foreword.kill().expect("it runs");
    cleanup(&other.node);
    let mut elsewhere = FOREWORD.attach(&other.node, &flags);
    elsewhere.terminate().expect("it ends after SIGTERM");
    let mut foreword = FOREWORD.attach(&lab.node, &flags);
    let mut tc = lab.node.command("tc");
    let removed = tc.args(["filter", "del", "dev", "eth0", "ingress", "pref", "30"]).status();
    assert!(removed.expect("tc is installed").success());
    foreword.terminate().expect("it ends after SIGTERM");
    before.assert_restored(&lab.node);
}

/// A second interface that has no place for XDP: the first one must not stay held for it.
#[apply(lab_test)]
fn a_start_that_fails_holds_nothing() {
    for hook in hooks() {
        let lab = lab();
        lab.node.ip("link add last link eth1 type macvlan").expect("root may make links");
        let before = NodeState::of(&lab.node);
        let flags = flags(hook).replace("eth0", "eth0 last") + " --guard-hook native";
        let flags: Vec<_> = flags.split_whitespace().collect();
        let mut failing = FOREWORD.spawn(&lab.node, &flags);
        let status = failing.wait(PATIENCE).expect("it ends by itself");
        assert_eq!(status.code(), Some(1), "{}", failing.output());
        let message = "error: cannot attach to last: no native XDP on last; leave --guard-hook out";
        assert!(failing.output().contains(message), "{}", failing.output());
        assert!(!is_held(&lab.node), "{hook}");
        before.assert_restored(&lab.node);
    }
}
