//! Starts that fail, at each step and for real: one sentence says so, and the node is as it was.
//!
//! A step fails because a system call of it is refused, whichever thread makes it. Tests differ in
//! the kinds of calls. Of kinds that come in long rows of the same (settings that are followed,
//! options of sockets), every second or third is refused; of the others, each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use netlab::{Backend, Daemon, Family, Lab, PATIENCE, hooks, lab};
use nix::libc;

use crate::FOREWORD;
use crate::fault::{self, Call, Consequence, During, Ended, Fault};
use crate::flood::say;
use crate::footprint::NodeState;
use crate::probe::{EVERYTHING, assert_served, cleanup, echoes, left_by};

const BPF: [Call; 1] = [(libc::SYS_bpf, "bpf")];

#[apply(lab_test)]
fn a_refused_program_map_or_link_leaves_nothing_of_tcx() {
    assert_each_failure_leaves_nothing(&BPF, 1, &["tcx"]);
}

#[apply(lab_test)]
fn a_refused_program_map_or_link_leaves_nothing_of_clsact() {
    assert_each_failure_leaves_nothing(&BPF, 1, &["clsact"]);
}

#[apply(lab_test)]
fn a_refused_file_leaves_nothing() {
    const CALLS: [Call; 5] = [
        (libc::SYS_openat, "openat"),
        (libc::SYS_write, "write"),
        (libc::SYS_mkdir, "mkdir"),
        (libc::SYS_flock, "flock"),
        (libc::SYS_getdents64, "getdents64"),
    ];
    assert_each_failure_leaves_nothing(&CALLS, 3, hooks());
}

#[apply(lab_test)]
fn a_refused_socket_or_namespace_leaves_nothing() {
    const CALLS: [Call; 7] = [
        (libc::SYS_socket, "socket"),
        (libc::SYS_setsockopt, "setsockopt"),
        (libc::SYS_bind, "bind"),
        (libc::SYS_listen, "listen"),
        (libc::SYS_getsockname, "getsockname"),
        (libc::SYS_unshare, "unshare"),
        (libc::SYS_setns, "setns"),
    ];
    assert_each_failure_leaves_nothing(&CALLS, 2, hooks());
}

#[apply(lab_test)]
fn a_refused_event_queue_leaves_nothing() {
    const CALLS: [Call; 4] = [
        (libc::SYS_epoll_create1, "epoll_create1"),
        (libc::SYS_epoll_ctl, "epoll_ctl"),
        (libc::SYS_eventfd2, "eventfd2"),
        (libc::SYS_prlimit64, "prlimit64"),
    ];
    assert_each_failure_leaves_nothing(&CALLS, 3, hooks());
}

#[apply(lab_test)]
fn a_refused_thread_leaves_nothing() {
    const CALLS: [Call; 2] = [(libc::SYS_clone, "clone"), (libc::SYS_clone3, "clone3")];
    assert_each_failure_leaves_nothing(&CALLS, 1, hooks());
}

/// A request that isn't sent, or an answer that doesn't come: then nobody knows whether the kernel
/// has done it.
#[apply(lab_test)]
fn a_lost_talk_with_the_kernel_leaves_nothing() {
    const CALLS: [Call; 2] = [(libc::SYS_sendto, "sendto"), (libc::SYS_recvfrom, "recvfrom")];
    assert_each_failure_leaves_nothing(&CALLS, 2, hooks());
}

/// From what a program needs to begin at all, one by one up to what is enough to serve.
#[apply(lab_test)]
fn too_few_descriptors_leave_nothing() {
    let node = Node::new();
    let before = NodeState::of(&node.lab.node);
    let mut wrong = Vec::new();
    let enough = (4..MOST_DESCRIPTORS).find(|limit| {
        let (is_served, complaints) = node.start_with_descriptors(*limit);
        wrong.extend(complaints.into_iter().map(|what| format!("{limit} descriptors: {what}")));
        is_served
    });
    say(&format!("failed starts for want of descriptors: {enough:?} were enough to serve"));
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(enough.is_some_and(|limit| limit > 4), "{enough:?}");
    before.assert_restored(&node.lab.node);
}

/// Far more than a start needs.
const MOST_DESCRIPTORS: u32 = 400;

/// What tokio says when its own event queue fails it. It ends the process then, and nobody can keep
/// it from doing so.
const TOKIO_CANNOT_GO_ON: &str = "failed to wake I/O driver";

/// Starts once for every `step`th call of these kinds, by the hooks in turn, until a start has no
/// call of that number any more.
fn assert_each_failure_leaves_nothing(calls: &'static [Call], step: usize, hooks: &[&str]) {
    let node = Node::new();
    let before = NodeState::of(&node.lab.node);
    let (mut refused, mut served) = (0, 0);
    let mut wrong = Vec::new();
    for (number, hook) in (0..).step_by(step).zip(hooks.iter().cycle()) {
        let (during, consequence) = (During::Start, Consequence::Refusal);
        let fault = Fault { during, calls, number, consequence };
        let (ended, complaints) = node.start_with(fault, hook);
        let Some(call) = ended.failed else { break };
        let is_ready = is_ready(&ended.stdout);
        (refused, served) = (refused + usize::from(!is_ready), served + usize::from(is_ready));
        let which = |complaint| format!("{hook}: call {number}, {call}: {complaint}");
        if !ended.stderr.contains(TOKIO_CANNOT_GO_ON) {
            wrong.extend(complaints.into_iter().map(which));
        }
    }
    let kinds: Vec<_> = calls.iter().map(|(_, name)| *name).collect();
    say(&format!(
        "failed starts by {}: {}; {refused} ended in an error, {served} served nevertheless",
        hooks.join(" and "),
        kinds.join(", ")
    ));
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused > 0, "no start has failed");
    before.assert_restored(&node.lab.node);
}

/// A node with servers behind it, and how it looks while no Foreword is there.
struct Node {
    lab: Lab,
    backends: [Backend; 2],
    empty: NodeState,
}

impl Node {
    fn new() -> Self {
        let lab = lab();
        let (backends, empty) = (echoes(&lab), NodeState::glance(&lab.node));
        Self { lab, backends, empty }
    }

    /// Starts with everything that there is to attach, and lists what is wrong afterwards.
    fn start_with(&self, fault: Fault, hook: &str) -> (Ended, Vec<String>) {
        let flags = format!("attach {EVERYTHING} --hook {hook}");
        let flags: Vec<_> = flags.split_whitespace().collect();
        let serves = AtomicBool::new(true);
        let ended = fault::run(&self.lab.node, FOREWORD.path(), &flags, fault, |_| {
            serves.store(self.is_served(), Ordering::Relaxed);
        });
        let mut wrong = judge(ended.code, &ended.stdout, &ended.stderr);
        if !serves.into_inner() {
            wrong.push(format!("it is ready, and does not serve: {}", ended.stderr));
        }
        if is_ready(&ended.stdout) {
            // What it holds on purpose.
            cleanup(&self.lab.node);
        }
        wrong.extend(
            left_by(ended.pid, &self.lab.node, &self.empty)
                .into_iter()
                .map(|what| format!("left: {what}")),
        );
        (ended, wrong)
    }

    /// Starts with so many descriptors at most; says whether it serves, and lists what is wrong.
    fn start_with_descriptors(&self, limit: u32) -> (bool, Vec<String>) {
        let mut command = self.lab.node.command("sh");
        command.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &limit.to_string()]);
        command.arg(FOREWORD.path()).arg("attach").args(EVERYTHING.split_whitespace());
        command.env("RUST_BACKTRACE", "0");
        let mut starting = Daemon::start("foreword", command).expect("there is a shell");
        let is_ready = starting.wait_for_line("ready", PATIENCE).is_ok();
        let is_served = is_ready && self.is_served();
        let status = starting.terminate().expect("it ends");
        let output = starting.output();
        let mut wrong = judge(status.code(), &output, &output);
        if is_ready && !is_served {
            wrong.push(format!("it is ready, and does not serve: {output}"));
        }
        if is_ready {
            cleanup(&self.lab.node);
        }
        wrong.extend(
            left_by(starting.pid(), &self.lab.node, &self.empty)
                .into_iter()
                .map(|what| format!("left: {what}")),
        );
        (is_served, wrong)
    }

    /// A start that succeeds in spite of an error has to work.
    fn is_served(&self) -> bool {
        let serve = || {
            for (family, backend) in Family::BOTH.into_iter().zip(&self.backends) {
                assert_served(&self.lab, backend, family);
            }
        };
        catch_unwind(AssertUnwindSafe(serve)).is_ok()
    }
}

fn is_ready(stdout: &str) -> bool {
    stdout.lines().any(|line| line.starts_with("ready"))
}

/// What is wrong with the way in which an attempt ended: exit code 1 with one sentence on stderr,
/// or `ready` and an orderly end.
fn judge(code: Option<i32>, stdout: &str, stderr: &str) -> Vec<String> {
    let is_ready = is_ready(stdout);
    let mut wrong = Vec::new();
    if code != Some(i32::from(!is_ready)) {
        wrong.push(format!("exit code {code:?}: {stderr}"));
    }
    let sentences = stderr.lines().filter(|line| line.starts_with("error: ")).count();
    if sentences != usize::from(!is_ready) || stderr.contains("panicked") {
        wrong.push(format!("not one sentence: {stderr}"));
    }
    wrong
}
