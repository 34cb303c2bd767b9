//! What one running Foreword has put into the kernel, and what of it is still there later.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use netlab::Netns;
use proxy_common::names;

use super::bpftool;

/// Kinds of eBPF objects: bpftool's word, and the field in `/proc/PID/fdinfo/FD`.
const KINDS: [(&str, &str); 3] = [("prog", "prog_id:"), ("map", "map_id:"), ("link", "link_id:")];

/// The objects of one instance, noted while it runs.
pub struct Traces {
    instance: u32,
    /// Ids in the order of [`KINDS`].
    ids: [Vec<u64>; 3],
    cgroup: Option<PathBuf>,
}

impl Traces {
    /// Reads from the process's open files which eBPF objects it holds.
    pub fn of(instance: u32) -> Result<Self> {
        let mut ids = [const { Vec::new() }; 3];
        let folder = format!("/proc/{instance}/fdinfo");
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
            // A file that was closed since it was listed is none of those looked for.
            let info = fs::read_to_string(entry?.path()).unwrap_or_default();
            for (ids, (_, field)) in ids.iter_mut().zip(KINDS) {
                ids.extend(info.lines().find_map(|line| number(line, field)));
            }
        }
        for ids in &mut ids {
            ids.sort_unstable();
            ids.dedup();
        }
        Ok(Self { instance, ids, cgroup: cgroup_of(instance) })
    }

    /// Whether no object was seen, although there must have been some.
    pub fn is_empty(&self) -> bool {
        self.ids.iter().all(Vec::is_empty)
    }

    /// Everything that is still there, in words.
    pub fn left(&self, node: &Netns) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for (ids, (kind, _)) in self.ids.iter().zip(KINDS) {
            let all = bpftool::ids(kind)?;
            let stay = ids.iter().filter(|id| all.contains(id));
            left.extend(stay.map(|id| format!("{kind} {id}")));
        }
        let pins = bpftool::pin_folder(self.instance);
        left.extend(Path::new(&pins).exists().then_some(pins));
        let cgroup = self.cgroup.as_ref().filter(|folder| folder.exists());
        left.extend(cgroup.map(|folder| folder.display().to_string()));
        let links = text_of(node, "ip", &["-brief", "link"])?;
        left.extend(
            links.lines().filter(|it| it.starts_with(names::VETH_PREFIX)).map(String::from),
        );
        let filters = text_of(node, "tc", &["filter", "show", "dev", "eth0", "ingress"])?;
        left.extend(filters.contains("foreword_").then(|| "a filter on eth0".to_owned()));
        Ok(left)
    }
}

impl fmt::Display for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [programs, maps, links] = self.ids.each_ref().map(Vec::len);
        write!(f, "{programs} programs, {maps} maps, {links} links")
    }
}

/// The namespace's policy rules of both families, which Foreword must not touch.
pub fn policy_rules(netns: &Netns) -> Result<String> {
    Ok(text_of(netns, "ip", &["rule"])? + &text_of(netns, "ip", &["-6", "rule"])?)
}

fn text_of(netns: &Netns, program: &str, args: &[&str]) -> Result<String> {
    let output = netns.command(program).args(args).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn number(line: &str, field: &str) -> Option<u64> {
    line.strip_prefix(field)?.trim().parse().ok()
}

/// The process's cgroup of version 2, if it is one that was made for it.
fn cgroup_of(instance: u32) -> Option<PathBuf> {
    let membership = fs::read_to_string(format!("/proc/{instance}/cgroup")).ok()?;
    let path = membership.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
    path.contains(names::CGROUP_PREFIX).then(|| Path::new(mount).join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ids_of_open_files() {
        assert_eq!(number("map_id:\t17", "map_id:"), Some(17));
        assert_eq!(number("map_type:\t2", "map_id:"), None);
    }

    #[test]
    fn a_process_without_ebpf_has_no_traces() {
        let traces = Traces::of(std::process::id()).unwrap();
        assert!(traces.is_empty());
        assert_eq!(traces.to_string(), "0 programs, 0 maps, 0 links");
    }
}
