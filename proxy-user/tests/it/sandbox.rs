//! Foreword under the restrictions that it is shipped with: as systemd runs it by our unit file, and
//! as a container runtime runs it by our `DaemonSet`.

mod container;
mod systemd;

use std::fs;
use std::path::{Path, PathBuf};

use netlab::{Backend, Family, Lab};

use crate::probe::assert_served;

/// `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`.
const BOTH_CAPABILITIES: &str = "0000000000201000";

/// A file below `scripts`.
fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(path)
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

/// A line of a process's status, in a `/proc` that knows it by this number.
fn status(proc: &Path, pid: u32, key: &str) -> String {
    let file = proc.join(pid.to_string()).join("status");
    let text = fs::read_to_string(file).expect("the process lives");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).to_owned()
}
