//! systemd itself, as process 1 of a system that has nothing but our unit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use netlab::{Daemon, Family, Lab, PATIENCE, Scratch, has_tools, lab, output_of, wait_until};

use super::{BOTH_CAPABILITIES, assert_both_served, child, shipped, status};
use crate::FOREWORD;
use crate::admin::get;
use crate::config_file::require_on_80;
use crate::footprint::{NodeState, cgroup2_mounts};
use crate::probe::{echoes, flows_directly};

const UNIT: &str = "systemd/foreword@.service";

/// The highest exposure that `systemd-analyze security` may find, of 100.
const EXPOSURE: &str = "35";

/// A systemd that knows our unit only, and the cgroup that it has for itself.
struct Systemd {
    unshare: Daemon,
    pid: u32,
    cgroup: PathBuf,
    _scratch: Scratch,
}

impl Systemd {
    /// With the instance `one` of the unit running.
    fn start(lab: &Lab) -> Self {
        let scratch = Scratch::new();
        let root = scratch.path().join("root");
        fs::create_dir(&root).expect("a folder of ours");
        let script = scratch.write("systemd.sh", include_str!("systemd.sh"));
        let config = scratch.write("config.yaml", &require_on_80().to_string());
        let mounts = cgroup2_mounts();
        let name = scratch.path().file_name().expect("a folder has a name");
        let cgroup = mounts.first().expect("cgroup2 is mounted").join(name);
        fs::create_dir(&cgroup).expect("root may make a cgroup");

        let mut command = lab.node.command("sh");
        command.arg("-c").arg("echo 0 >\"$0/cgroup.procs\" && exec \"$@\"").arg(&cgroup);
        command.args(["unshare", "--mount", "--pid", "--cgroup", "--ipc", "--uts"]);
        command.args(["--fork", "--kill-child", "sh"]).arg(script);
        command.arg(root).arg(FOREWORD.path()).arg(shipped(UNIT)).arg(config);
        let unshare = Daemon::start("systemd", command).expect("unshare is installed");
        let mut pid = None;
        let found = wait_until(PATIENCE, "systemd", || {
            let is_systemd = |&pid: &u32| status(Path::new("/proc"), pid, "Name") == "systemd";
            pid = child(unshare.pid()).filter(is_systemd);
            pid.is_some()
        });
        found.unwrap_or_else(|error| panic!("{error}: {}", unshare.output()));
        let pid = pid.expect("just found");
        let systemd = Self { unshare, pid, cgroup, _scratch: scratch };
        systemd.wait_for("one", "\nready");
        systemd
    }

    /// A path in its own system.
    fn path(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.pid)).join(path)
    }

    /// What an instance has written.
    fn output(&self, instance: &str) -> String {
        fs::read_to_string(self.path(&format!("run/output-{instance}"))).unwrap_or_default()
    }

    #[track_caller]
    fn wait_for(&self, instance: &str, words: &str) {
        wait_until(PATIENCE, words, || self.output(instance).contains(words))
            .unwrap_or_else(|error| panic!("{error}: {}", self.output(instance)));
    }

    /// `systemctl WORDS foreword@INSTANCE`.
    fn control(&self, words: &[&str], instance: &str) -> String {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--mount", "--pid", "systemctl"]);
        command.args(words).arg(format!("foreword@{instance}"));
        output_of(command)
    }

    fn property(&self, name: &str, instance: &str) -> String {
        self.control(&["show", "--value", "--property", name], instance).trim().to_owned()
    }

    /// A line of an instance's `/proc/PID/status`.
    fn status(&self, instance: &str, key: &str) -> String {
        let pid = self.property("MainPID", instance).parse().expect("a pid");
        status(&self.path("proc"), pid, key)
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

fn is_there() -> bool {
    has_tools(&["systemctl", "systemd-analyze", "unshare", "nsenter", "pivot_root"])
}

#[apply(lab_test)]
fn it_runs_by_our_unit() {
    if !is_there() {
        return;
    }
    let lab = lab();
    let backends = echoes(&lab);
    let before = NodeState::of(&lab.node);
    let systemd = Systemd::start(&lab);
    assert_both_served(&lab, &backends);
    assert_eq!(systemd.status("one", "CapEff"), BOTH_CAPABILITIES);
    assert_eq!(systemd.status("one", "CapBnd"), BOTH_CAPABILITIES);
    assert_eq!(systemd.status("one", "NoNewPrivs"), "1");
    assert_eq!(systemd.status("one", "Seccomp"), "2");
    assert_eq!(get(&lab, "/readyz").1, "ready\n");
    assert!(systemd.path("run/foreword/admin.sock").is_symlink());
    systemd.control(&["reload"], "one");
    systemd.wait_for("one", "reloaded: nothing has changed");

    systemd.control(&["stop"], "one");
    let output = systemd.output("one");
    assert_eq!(systemd.property("Result", "one"), "success", "{output}");
    assert!(output.contains("\ndetached"), "{output}");
    assert!(!output.contains("WARN") && !output.contains("tracking  off"), "{output}");
    for (family, backend) in Family::BOTH.into_iter().zip(&backends) {
        assert!(flows_directly(&lab, backend, family), "{family:?}");
    }
    drop(systemd);
    before.assert_restored(&lab.node);
}

/// As the head of the unit says that a new version is put in place.
#[apply(lab_test)]
fn another_instance_takes_over() {
    if !is_there() {
        return;
    }
    let lab = lab();
    let backends = echoes(&lab);
    let systemd = Systemd::start(&lab);
    assert_both_served(&lab, &backends);
    systemd.control(&["start"], "two");
    systemd.wait_for("two", "\nready");
    let state = || systemd.property("ActiveState", "one");
    wait_until(PATIENCE, "the first ends", || state() == "inactive")
        .unwrap_or_else(|error| panic!("{error}: {}", systemd.output("one")));
    assert_eq!(systemd.property("Result", "one"), "success", "{}", systemd.output("one"));
    assert_eq!(systemd.property("NRestarts", "one"), "0");
    assert_eq!(systemd.property("ActiveState", "two"), "active");
    assert_both_served(&lab, &backends);
    assert_eq!(get(&lab, "/readyz").1, "ready\n");
}

#[apply(lab_test)]
fn the_unit_is_as_systemd_wants_it() {
    if !is_there() {
        return;
    }
    let text = fs::read_to_string(shipped(UNIT)).expect("the unit is there");
    // The program is not installed here, which would be all there is to complain of.
    let scratch = Scratch::new();
    let installed = text.replace("/usr/local/bin/foreword", &FOREWORD.path().display().to_string());
    assert_ne!(installed, text);
    let copy = scratch.write("foreword@test.service", &installed);
    let mut verify = Command::new("systemd-analyze");
    let verify = verify.args(["verify", "--man=no"]).arg(&copy).output().expect("it is installed");
    let said = [verify.stdout, verify.stderr].concat();
    assert!(verify.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--no-pager", "--offline=true"]);
    security.arg(format!("--threshold={EXPOSURE}")).arg(&copy);
    output_of(security);
}
