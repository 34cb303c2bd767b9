//! Foreword under the restrictions that it is shipped with: as systemd runs it by our unit file, and
//! as a container runtime runs it by our DaemonSet.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xtask::lab::{Daemon, Family, Foreword, Lab, wait_until};

use crate::backend::Backend;
use crate::client::PATIENCE;
use crate::footprint::{NodeState, cgroup2_mounts};
use crate::probe::{FLAGS, assert_served, echoes, flows_directly};
use crate::scene::lab;
use crate::setup::{Scratch, foreword, has_tools, output_of};

any_family!(
    systemd_runs_it_by_our_unit,
    the_unit_is_as_systemd_wants_it,
    a_container_runs_it,
    a_container_takes_over_from_another,
);

/// What the unit's `ExecStart` is for these tests.
const COMMAND: &str = "attach";

/// The highest exposure that `systemd-analyze security` may find, of 100.
const EXPOSURE: &str = "35";

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/systemd/foreword.service")
}

fn assert_both_served(lab: &Lab, backends: &[Backend; 2]) {
    for (family, backend) in Family::BOTH.into_iter().zip(backends) {
        assert_served(lab, backend, family);
    }
}

/// The first child of a process.
fn child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// A line of `/proc/PID/status`.
fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).to_owned()
}

/// `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`.
const BOTH_CAPABILITIES: &str = "0000000000201000";

/// A systemd that knows our unit only, and the cgroup that it has for itself.
struct Systemd {
    unshare: Daemon,
    pid: u32,
    cgroup: PathBuf,
    _scratch: Scratch,
}

impl Systemd {
    fn start(lab: &Lab) -> Self {
        let scratch = Scratch::new();
        let root = scratch.path().join("root");
        fs::create_dir(&root).expect("a folder of ours");
        let addition = format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=\n\
             ExecStart=/program {COMMAND} {FLAGS}\n\
             StandardOutput=append:/run/output\nStandardError=inherit\n"
        );
        let addition = scratch.write("addition", &addition);
        let script = scratch.write("systemd.sh", include_str!("sandbox/systemd.sh"));
        let mounts = cgroup2_mounts();
        let name = scratch.path().file_name().expect("a folder has a name");
        let cgroup = mounts.first().expect("cgroup2 is mounted").join(name);
        fs::create_dir(&cgroup).expect("root may make a cgroup");

        let mut command = lab.node.command("sh");
        command.arg("-c").arg("echo 0 >\"$0/cgroup.procs\" && exec \"$@\"").arg(&cgroup);
        command.args(["unshare", "--mount", "--pid", "--cgroup", "--ipc", "--uts"]);
        command.args(["--fork", "--kill-child", "sh"]).arg(script);
        command.arg(root).arg(foreword()).arg(unit()).arg(addition);
        let unshare = Daemon::start("systemd", command).expect("unshare is installed");
        let mut pid = None;
        let found = wait_until(PATIENCE, "systemd", || {
            pid = child(unshare.pid()).filter(|&pid| status(pid, "Name") == "systemd");
            pid.is_some()
        });
        found.unwrap_or_else(|error| panic!("{error}: {}", unshare.output()));
        Self { unshare, pid: pid.expect("just found"), cgroup, _scratch: scratch }
    }

    /// What the service has written.
    fn output(&self) -> String {
        fs::read_to_string(format!("/proc/{}/root/run/output", self.pid)).unwrap_or_default()
    }

    /// `systemctl WORDS foreword.service`.
    fn control(&self, words: &[&str]) -> String {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--mount", "--pid", "systemctl"]);
        command.args(words).arg("foreword.service");
        output_of(command)
    }

    fn property(&self, name: &str) -> String {
        self.control(&["show", "--value", "--property", name]).trim().to_owned()
    }

    fn wait_for(&self, words: &str) {
        wait_until(PATIENCE, words, || self.output().contains(words))
            .unwrap_or_else(|error| panic!("{error}: {}", self.output()));
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = wait_until(PATIENCE, "an empty cgroup", || {
            remove_cgroups(&self.cgroup);
            !self.cgroup.exists()
        });
    }
}

/// Removes a cgroup with those inside, as far as they are empty.
fn remove_cgroups(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}

fn systemd_runs_it_by_our_unit() {
    if !has_tools(&["systemctl", "unshare", "pivot_root"]) {
        return;
    }
    let lab = lab();
    let backends = echoes(&lab);
    let before = NodeState::of(&lab.node);
    let systemd = Systemd::start(&lab);
    systemd.wait_for("\nready");
    assert_both_served(&lab, &backends);

    let main: u32 = systemd.property("MainPID").parse().expect("a pid");
    // That one is of systemd's own process namespace; the service is systemd's only child here.
    assert_ne!(main, 0);
    let pid = child(systemd.pid).expect("the service runs");
    assert_eq!(status(pid, "CapEff"), BOTH_CAPABILITIES);
    assert_eq!(status(pid, "CapBnd"), BOTH_CAPABILITIES);
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    assert_eq!(status(pid, "Seccomp"), "2");
    let output = systemd.output();
    assert!(!output.contains("WARN") && !output.contains("tracking  off"), "{output}");

    systemd.control(&["stop"]);
    assert_eq!(systemd.property("Result"), "success", "{}", systemd.output());
    assert!(systemd.output().contains("\ndetached"), "{}", systemd.output());
    for (family, backend) in Family::BOTH.into_iter().zip(&backends) {
        assert!(flows_directly(&lab, backend, family), "{family:?}");
    }
    drop(systemd);
    before.assert_restored(&lab.node);
}

fn the_unit_is_as_systemd_wants_it() {
    if !has_tools(&["systemd-analyze"]) {
        return;
    }
    let text = fs::read_to_string(unit()).expect("the unit is there");
    assert!(text.contains("ExecStart=/usr/local/bin/foreword run -c "), "{text}");
    // The program is not installed here, which would be all there is to complain of.
    let program = foreword().display().to_string();
    let scratch = Scratch::new();
    let copy =
        scratch.write("foreword.service", &text.replace("/usr/local/bin/foreword", &program));
    let mut verify = Command::new("systemd-analyze");
    let verify = verify.args(["verify", "--man=no"]).arg(&copy).output().expect("it is installed");
    let said = [verify.stdout, verify.stderr].concat();
    assert!(verify.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--no-pager", "--offline=true"]);
    security.arg(format!("--threshold={EXPOSURE}")).arg(&copy);
    output_of(security);
}

/// What `scripts/kubernetes` has a container run, in place of the program.
fn container(scratch: &Scratch) -> PathBuf {
    let path = scratch.write("container.sh", include_str!("sandbox/container.sh"));
    let text = format!(
        "#!/bin/sh\nexport FOREWORD='{}'\nexec {} \"$@\"\n",
        foreword().display(),
        path.display()
    );
    let start = scratch.write("start.sh", &text);
    for file in [&path, &start] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("a file of ours");
    }
    start
}

/// Starts one, and gives back the process outside and the program inside it.
fn start_container(lab: &Lab, scratch: &Scratch, flags: &str) -> (Foreword, u32) {
    let arguments: Vec<_> = flags.split_whitespace().collect();
    let foreword = Foreword::attach(&lab.node, &container(scratch), &arguments)
        .unwrap_or_else(|error| panic!("in a container: {error:#}"));
    let inside = child(foreword.pid()).expect("a container has a first process");
    assert!(status(inside, "NSpid").ends_with("\t1"), "{}", status(inside, "NSpid"));
    assert_eq!(status(inside, "CapEff"), BOTH_CAPABILITIES);
    (foreword, inside)
}

/// As kubelet ends a container.
fn end_container(foreword: &mut Foreword, inside: u32) {
    let pid = Pid::from_raw(inside.try_into().expect("a pid"));
    kill(pid, Signal::SIGTERM).expect("it runs");
    let status = foreword.wait(PATIENCE).expect("it ends after SIGTERM");
    assert_eq!(status.code(), Some(0), "{}", foreword.output());
    assert!(foreword.output().contains("\ndetached"), "{}", foreword.output());
}

fn a_container_runs_it() {
    if !has_tools(&["unshare", "findmnt"]) {
        return;
    }
    let (lab, scratch) = (lab(), Scratch::new());
    let backends = echoes(&lab);
    let before = NodeState::of(&lab.node);
    let (mut foreword, inside) = start_container(&lab, &scratch, FLAGS);
    assert_both_served(&lab, &backends);
    assert!(!foreword.output().contains("tracking  off"), "{}", foreword.output());
    end_container(&mut foreword, inside);
    before.assert_restored(&lab.node);
}

/// A surge: both are process 1 of their own namespace, and share the rest.
fn a_container_takes_over_from_another() {
    if !has_tools(&["unshare", "findmnt"]) {
        return;
    }
    let (lab, scratch) = (lab(), Scratch::new());
    let backends = echoes(&lab);
    let before = NodeState::of(&lab.node);
    let (mut first, _) = start_container(&lab, &scratch, FLAGS);
    assert_both_served(&lab, &backends);
    let flags = format!("{FLAGS} --take-over");
    let (mut second, inside) = start_container(&lab, &scratch, &flags);
    let status = first.wait(PATIENCE).expect("it ends when it is succeeded");
    assert_eq!(status.code(), Some(0), "{}", first.output());
    assert_both_served(&lab, &backends);
    end_container(&mut second, inside);
    before.assert_restored(&lab.node);
}
