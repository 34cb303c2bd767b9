//! A container as our `DaemonSet` asks for it, made of the same parts as a runtime would use.

use std::fs;
use std::path::{Path, PathBuf};

use netlab::{Foreword, Lab, PATIENCE, Scratch, has_tools, lab};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{BOTH_CAPABILITIES, assert_both_served, child, shipped, status};
use crate::FOREWORD;
use crate::admin::get;
use crate::config_file::{require_on_80, wait_for};
use crate::footprint::NodeState;
use crate::probe::echoes;

/// The `DaemonSet`'s arguments, up to the configuration's path.
const ARGUMENTS: [&str; 3] = ["run", "--stay", "-c"];

/// A node's part of what a pod sees.
struct Node {
    lab: Lab,
    scratch: Scratch,
}

impl Node {
    fn new() -> Self {
        let daemon_set = fs::read_to_string(shipped("kubernetes/base/daemonset.yaml"));
        let text = daemon_set.expect("it is there");
        let words = ARGUMENTS.map(|word| format!("\"{word}\", ")).concat();
        let arguments = format!("args: [{words}\"/etc/foreword/config.yaml\"]");
        assert!(text.contains(&arguments), "no {arguments} in {text}");
        let scratch = Scratch::new();
        fs::create_dir(scratch.path().join("run")).expect("a folder of ours");
        scratch.write("config.yaml", &require_on_80().to_string());
        scratch.write("container.sh", include_str!("container.sh"));
        Self { lab: lab(), scratch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn start_container(&self) -> Container {
        let mut command = self.lab.node.command("sh");
        command.arg(self.path("container.sh")).arg(self.path("run"));
        command.arg(FOREWORD.path()).args(ARGUMENTS).arg(self.path("config.yaml"));
        let foreword =
            Foreword::start(command).unwrap_or_else(|error| panic!("in a container: {error:#}"));
        let inside = child(foreword.pid()).expect("a container has a first process");
        let status = |key| status(Path::new("/proc"), inside, key);
        assert!(status("NSpid").ends_with("\t1"), "{}", status("NSpid"));
        assert_eq!(status("CapEff"), BOTH_CAPABILITIES);
        let output = foreword.output();
        assert!(!output.contains("WARN") && !output.contains("tracking  off"), "{output}");
        Container { foreword, inside }
    }
}

/// The process outside, and the program inside.
struct Container {
    foreword: Foreword,
    inside: u32,
}

impl Container {
    /// What a probe says in the container, as kubelet has it run: the exit code, and why.
    fn probe(&self, node: &Node, flags: &[&str]) -> (Option<i32>, String) {
        let mut nsenter = node.lab.node.command("nsenter");
        nsenter.args(["--target", &self.inside.to_string(), "--mount", "--pid"]);
        let output = nsenter.arg(FOREWORD.path()).arg("health").args(flags).output();
        let output = output.expect("nsenter is installed");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[track_caller]
    fn assert_well(&self, node: &Node) {
        for flags in [&[][..], &["--ready"]] {
            assert_eq!(self.probe(node, flags), (Some(0), String::new()), "{flags:?}");
        }
    }

    /// As kubelet does it.
    fn end(mut self) {
        let pid = Pid::from_raw(self.inside.try_into().expect("a pid"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        let status = self.foreword.wait(PATIENCE).expect("it ends after SIGTERM");
        assert_eq!(status.code(), Some(0), "{}", self.foreword.output());
        assert!(self.foreword.output().contains("\ndetached"), "{}", self.foreword.output());
    }
}

fn is_there() -> bool {
    has_tools(&["unshare", "findmnt", "setpriv"])
}

#[apply(lab_test)]
fn it_runs_as_the_daemon_set_has_it() {
    if !is_there() {
        return;
    }
    let node = Node::new();
    let backends = echoes(&node.lab);
    let before = NodeState::of(&node.lab.node);
    let container = node.start_container();
    assert_both_served(&node.lab, &backends);
    assert_eq!(get(&node.lab, "/readyz").1, "ready\n");
    container.assert_well(&node);
    assert!(node.path("run/admin.sock").is_symlink(), "the node finds it as well");
    container.end();
    before.assert_restored(&node.lab.node);
}

/// Both are process 1 of their own namespace, and share the rest. The first must not exit by itself:
/// kubelet would start it again, and it would take over from the second.
#[apply(lab_test)]
fn a_surge_is_a_takeover() {
    if !is_there() {
        return;
    }
    let node = Node::new();
    let backends = echoes(&node.lab);
    let before = NodeState::of(&node.lab.node);
    let first = node.start_container();
    assert_both_served(&node.lab, &backends);
    let second = node.start_container();
    wait_for(&first.foreword, "succeeded", 1);
    // Whether it drains or has retired: it is left in peace.
    first.assert_well(&node);
    second.assert_well(&node);
    wait_for(&first.foreword, "retired: waiting for a signal", 1);
    first.assert_well(&node);
    assert_both_served(&node.lab, &backends);
    assert_eq!(get(&node.lab, "/readyz").1, "ready\n");
    first.end();
    assert_both_served(&node.lab, &backends);
    second.end();
    before.assert_restored(&node.lab.node);
}
