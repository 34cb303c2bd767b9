//! What the kernel says about BPF programs and links in `/proc/self/fdinfo`. (`procfs` does not read
//! these files.)
//!
//! When somebody detaches a link (`bpftool link detach`), its owner keeps the descriptor and is not
//! notified; the link's fdinfo tells.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, RawFd};

const FDINFO: &str = "/proc/self/fdinfo";

/// What each kind of link is attached to: an interface, a network namespace, a cgroup. It is zero
/// once the link is detached.
const TARGETS: [&str; 3] = ["ifindex", "netns_ino", "cgroup_id"];

/// The text of one descriptor's fdinfo: lines of a key, a colon and a value.
struct FdInfo(String);

impl FdInfo {
    fn read(descriptor: RawFd) -> io::Result<Self> {
        Ok(Self(fs::read_to_string(format!("{FDINFO}/{descriptor}"))?))
    }

    fn value(&self, key: &str) -> Option<&str> {
        let mut values =
            self.0.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        values.next().map(str::trim)
    }

    fn number(&self, key: &str) -> Option<u32> {
        self.value(key)?.parse().ok()
    }

    fn link_id(&self) -> Option<u32> {
        self.number("link_id")
    }

    /// The id of the program, for a file that stands for a program. A link's file names its program
    /// too, but can be had without the right to load one.
    fn program_id(&self) -> Option<u32> {
        self.number("prog_id").filter(|_| self.link_id().is_none())
    }

    /// A kind of link that doesn't name its target counts as attached.
    fn has_target(&self) -> bool {
        TARGETS.iter().filter_map(|key| self.value(key)).all(|target| target != "0")
    }
}

/// The id of the program that an open file stands for; `None` if it stands for something else.
pub fn program_id(file: impl AsFd) -> io::Result<Option<u32>> {
    Ok(FdInfo::read(file.as_fd().as_raw_fd())?.program_id())
}

/// A BPF link that this process holds a descriptor of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfLink {
    id: u32,
    descriptor: RawFd,
}

impl BpfLink {
    /// Finds the link with this id by its lowest descriptor. Links have low descriptors, so this is
    /// quick, however many are open.
    pub fn of_id(id: u32) -> io::Result<Self> {
        let mut descriptors = fs::read_dir(FDINFO)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect::<Vec<RawFd>>();
        descriptors.sort_unstable();
        let mut links = descriptors.into_iter().map(|descriptor| Self { id, descriptor });
        let found = links.find(|link| link.info().is_some());
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no BPF link {id}")))
    }

    /// Whether the link exists and is attached to something.
    pub fn is_attached(self) -> bool {
        self.info().is_some_and(|info| info.has_target())
    }

    /// The descriptor's fdinfo, if it still stands for this link.
    fn info(self) -> Option<FdInfo> {
        let info = FdInfo::read(self.descriptor).ok()?;
        (info.link_id() == Some(self.id)).then_some(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(target: &str) -> FdInfo {
        FdInfo(format!(
            "pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t2085\nlink_type:\ttcx\nlink_id:\t42\n\
             prog_tag:\t3b185187f1855c4c\nprog_id:\t97\n{target}"
        ))
    }

    #[test]
    fn a_link_without_a_target_is_detached() {
        for attached in ["ifindex:\t3\n", "netns_ino:\t4026532300\n", "cgroup_id:\t77\n", ""] {
            assert!(link(attached).has_target(), "{attached}");
        }
        for detached in ["ifindex:\t0\n", "netns_ino:\t0\n", "cgroup_id:\t0\n"] {
            assert!(!link(detached).has_target(), "{detached}");
        }
    }

    #[test]
    fn a_link_is_recognised_by_its_id() {
        assert_eq!(link("").link_id(), Some(42));
        assert_eq!(FdInfo("pos:\t0\nprog_id:\t42\n".to_owned()).link_id(), None);
        assert_eq!(BpfLink::of_id(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_a_programs_file_has_a_program_id() {
        assert_eq!(FdInfo("prog_type:\t3\nprog_id:\t97\n".to_owned()).program_id(), Some(97));
        assert_eq!(link("").program_id(), None, "a link's file is no proof");
        assert_eq!(program_id(tempfile::tempfile().unwrap()).unwrap(), None);
    }
}
