//! What Foreword puts into the kernel, and how to find it again.
//!
//! Tests run side by side, so nothing here counts all programs or all maps of the machine: a
//! [`Footprint`] is taken of one living instance, by the ids of what it holds; a [`NodeState`]
//! describes one test's own namespace.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use netlab::{Netns, PATIENCE, output_of, wait_until};
use serde_json::Value;

/// Everything in a node's namespace that Foreword must leave as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState(BTreeSet<String>);

impl NodeState {
    /// Links, ids of other namespaces (which live as long as those), addresses, rules, routes,
    /// queueing disciplines, attached programs, sysctls, and [`filter_rules`] in their order.
    pub fn of(node: &Netns) -> Self {
        let commands = [
            "ip -o link show",
            "ip -o netns list-id",
            "ip -o address show",
            "ip -4 rule show",
            "ip -6 rule show",
            "ip -4 -o route show table all",
            "ip -6 -o route show table all",
            "tc qdisc show",
            "tc filter show dev eth0 ingress",
            "bpftool net show",
            "sysctl --all --ignore --pattern ^net[.]",
        ];
        let mut lines = lines_of(node, &commands);
        let rules = filter_rules(node);
        lines.extend(rules.iter().enumerate().map(|(number, line)| format!("{number}: {line}")));
        // It moves by itself.
        lines.retain(|line| !line.contains("nf_conntrack_count"));
        Self(lines)
    }

    /// What an attempt to attach touches first: links, ids of other namespaces, queueing
    /// disciplines, attached programs. For tests that look hundreds of times.
    pub fn glance(node: &Netns) -> Self {
        let commands =
            ["ip -o link show", "ip -o netns list-id", "tc qdisc show", "bpftool net show"];
        Self(lines_of(node, &commands))
    }

    /// Waits until the node is as it was in `self`; the kernel frees some things a little later.
    #[track_caller]
    pub fn assert_restored(&self, node: &Netns) {
        let mut now = Self::of(node);
        let restored = wait_until(PATIENCE, "the node's old state", || {
            now = Self::of(node);
            now == *self
        });
        assert!(restored.is_ok(), "{:#?}", self.differences(&now));
    }

    /// A line for each thing that is new `now`, or missing.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let (new, missing) = (now.0.difference(&self.0), self.0.difference(&now.0));
        new.map(|line| format!("+ {line}")).chain(missing.map(|line| format!("- {line}"))).collect()
    }
}

/// What some commands say inside the node, each line with its program's name.
fn lines_of(node: &Netns, commands: &[&str]) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for command in commands {
        let mut words = command.split_whitespace();
        let program = words.next().unwrap_or_default();
        let mut run = node.command(program);
        run.args(words);
        // A veth's state is unknown until the kernel looks, which it does within a second.
        let output = output_of(run).replace(" state UNKNOWN ", " state UP ");
        lines.extend(output.lines().map(|line| format!("{program}: {line}")));
    }
    lines
}

/// The node's packet filter as the tools save it, line by line, without comments and counters.
pub fn filter_rules(node: &Netns) -> Vec<String> {
    let commands: [&[&str]; 3] =
        [&["iptables-save"], &["ip6tables-save"], &["nft", "--stateless", "list", "ruleset"]];
    let saved: String = commands
        .map(|command| {
            let mut run = node.command(command[0]);
            run.args(&command[1..]);
            output_of(run)
        })
        .concat();
    let lines = saved.lines().filter(|line| !line.starts_with('#'));
    // A chain of iptables: `:NAME POLICY [PACKETS:BYTES]`.
    let stateless = lines.map(|line| match line.split_once(" [") {
        Some((chain, _)) if chain.starts_with(':') => chain,
        _ => line,
    });
    stateless.map(str::to_owned).collect()
}

/// What one instance holds in the kernel, and what it is known by.
#[derive(Debug)]
pub struct Footprint {
    instance: u32,
    programs: BTreeSet<u64>,
    maps: BTreeSet<u64>,
    links: BTreeSet<u64>,
}

impl Footprint {
    /// Of a living, attached process, from its open descriptors.
    pub fn of(pid: u32, node: &Netns) -> Self {
        let ids = |key: &str| descriptor_ids(pid, key);
        let footprint = Self {
            instance: pid,
            programs: ids("prog_id:"),
            maps: ids("map_id:"),
            links: ids("link_id:"),
        };
        for (kind, ids) in footprint.objects() {
            assert!(!ids.is_empty(), "no {kind}: {footprint:?}");
            assert!(ids.is_subset(&bpf_objects(kind)), "bpftool misses a {kind}: {footprint:?}");
        }
        assert!(footprint.pins().is_dir(), "{}", footprint.pins().display());
        assert!(footprint.cgroup().is_some(), "no cgroup foreword.{pid}");
        assert!(footprint.has_veth(node), "no veth fwd{pid}");
        footprint
    }

    /// What an instance is known by, for one that may not have got far enough to hold anything.
    pub fn by_name(pid: u32) -> Self {
        Self {
            instance: pid,
            programs: BTreeSet::new(),
            maps: BTreeSet::new(),
            links: BTreeSet::new(),
        }
    }

    /// The ids by what `bpftool` calls their kind.
    fn objects(&self) -> [(&'static str, &BTreeSet<u64>); 3] {
        [("prog", &self.programs), ("map", &self.maps), ("link", &self.links)]
    }

    /// The folder of the instance's pinned maps.
    pub fn pins(&self) -> PathBuf {
        Path::new("/sys/fs/bpf/foreword").join(self.instance.to_string())
    }

    /// The instance's cgroup, wherever below the cgroup2 mounts.
    fn cgroup(&self) -> Option<PathBuf> {
        let name = format!("foreword.{}", self.instance);
        cgroup2_mounts().iter().find_map(|mount| find_folder(mount, &name))
    }

    fn has_veth(&self, node: &Netns) -> bool {
        let name = format!("fwd{}", self.instance);
        node.command("ip")
            .args(["link", "show", "dev", &name])
            .output()
            .is_ok_and(|output| output.status.success())
    }

    /// A line for each thing of the instance that is still there.
    pub fn remains(&self, node: &Netns) -> Vec<String> {
        let mut remains = Vec::new();
        for (kind, ids) in self.objects().into_iter().filter(|(_, ids)| !ids.is_empty()) {
            let alive = bpf_objects(kind);
            remains.extend(ids.intersection(&alive).map(|id| format!("{kind} {id}")));
        }
        if self.pins().exists() {
            remains.push(format!("pins {}", self.pins().display()));
        }
        remains.extend(self.cgroup().map(|path| format!("cgroup {}", path.display())));
        if self.has_veth(node) {
            remains.push(format!("veth fwd{}", self.instance));
        }
        remains
    }

    /// Waits until nothing of the instance is left.
    #[track_caller]
    pub fn assert_gone(&self, node: &Netns) {
        let gone = wait_until(PATIENCE, "nothing left", || self.remains(node).is_empty());
        assert!(gone.is_ok(), "left behind: {:#?}", self.remains(node));
    }
}

/// The ids behind lines `KEY\tID` in a process's descriptors.
pub fn descriptor_ids(pid: u32, key: &str) -> BTreeSet<u64> {
    let folder = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the process lives");
    let texts = folder.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts
        .flat_map(|text| {
            let values = text.lines().filter_map(|line| line.strip_prefix(key));
            values.filter_map(|id| id.trim().parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// Ids of all programs (`prog`), maps (`map`) or links (`link`) of the machine.
fn bpf_objects(kind: &str) -> BTreeSet<u64> {
    let mut ids = None;
    wait_until(PATIENCE, &format!("a list from `bpftool {kind}`"), || {
        let output = Command::new("bpftool").args(["--json", kind, "show"]).output();
        let output = output.expect("bpftool is installed");
        // An object of another test that vanishes in the middle of the listing spoils it.
        ids = serde_json::from_slice(&output.stdout).ok().as_ref().and_then(all_ids);
        ids.is_some()
    })
    .unwrap_or_else(|error| panic!("{error}"));
    ids.unwrap_or_default()
}

/// The ids in a listing; `None` where it is an error instead.
fn all_ids(listing: &Value) -> Option<BTreeSet<u64>> {
    listing.as_array()?.iter().map(|object| object["id"].as_u64()).collect()
}

/// Every place where cgroup2 is mounted, from mountinfo.
pub fn cgroup2_mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("proc is mounted");
    let of_cgroup2 = mounts.lines().filter(|line| line.contains(" - cgroup2 "));
    of_cgroup2.filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect()
}

/// The first folder called `name` below `root`.
fn find_folder(root: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(root).ok()?;
    let folders: Vec<_> =
        entries.flatten().map(|e| e.path()).filter(|path| path.is_dir()).collect();
    let found = folders.iter().find(|path| path.file_name().is_some_and(|n| n == name));
    found.cloned().or_else(|| folders.iter().find_map(|folder| find_folder(folder, name)))
}
