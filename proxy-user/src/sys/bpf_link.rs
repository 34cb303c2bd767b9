//! Whether a BPF link is still attached. Whoever made it keeps its descriptor when somebody else
//! detaches it (`bpftool link detach`), and hears nothing of it.

use std::fs;
use std::io;
use std::os::fd::RawFd;

/// What the kernel says of the process's own descriptors.
const DESCRIPTORS: &str = "/proc/self/fdinfo";

/// Where a link is attached to, by its kind: an interface, a network namespace, a cgroup. Zero: it is
/// not.
const TARGETS: [&str; 3] = ["ifindex:", "netns_ino:", "cgroup_id:"];

/// A link of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfLink {
    id: u32,
    descriptor: RawFd,
}

impl BpfLink {
    /// The link of this id, by the lowest descriptor that stands for it. Links have low ones, so that
    /// it is found soon, however many there are.
    pub fn of_id(id: u32) -> io::Result<Self> {
        let mut descriptors = fs::read_dir(DESCRIPTORS)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect::<Vec<RawFd>>();
        descriptors.sort_unstable();
        let mut links = descriptors.into_iter().map(|descriptor| Self { id, descriptor });
        let found = links.find(|link| link.read().is_ok_and(|text| is_of(id, &text)));
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no BPF link {id}")))
    }

    /// Whether it is attached to anything, and there at all.
    pub fn is_attached(self) -> bool {
        self.read().is_ok_and(|text| is_of(self.id, &text) && has_target(&text))
    }

    fn read(self) -> io::Result<String> {
        fs::read_to_string(format!("{DESCRIPTORS}/{}", self.descriptor))
    }
}

/// The value of a line.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim()))
}

fn is_of(id: u32, text: &str) -> bool {
    value(text, "link_id:").is_some_and(|value| value.parse() == Ok(id))
}

/// A kind of link that says nothing of its target counts as attached.
fn has_target(text: &str) -> bool {
    TARGETS.iter().filter_map(|key| value(text, key)).all(|target| target != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fdinfo(target: &str) -> String {
        format!(
            "pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t2085\nlink_type:\ttcx\nlink_id:\t42\n\
             prog_tag:\t3b185187f1855c4c\nprog_id:\t97\n{target}"
        )
    }

    #[test]
    fn a_link_without_a_target_is_detached() {
        for attached in ["ifindex:\t3\n", "netns_ino:\t4026532300\n", "cgroup_id:\t77\n", ""] {
            assert!(has_target(&fdinfo(attached)), "{attached}");
        }
        for detached in ["ifindex:\t0\n", "netns_ino:\t0\n", "cgroup_id:\t0\n"] {
            assert!(!has_target(&fdinfo(detached)), "{detached}");
        }
    }

    #[test]
    fn a_link_is_told_by_its_id() {
        assert!(is_of(42, &fdinfo("")));
        assert!(!is_of(4, &fdinfo("")) && !is_of(42, "pos:\t0\nprog_id:\t42\n"));
        assert_eq!(BpfLink::of_id(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
