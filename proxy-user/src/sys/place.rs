//! Where this process runs, as far as it matters to what somebody can do about it: in a container,
//! commands for the node have to be given elsewhere.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// The kernel's number for the first process namespace, the machine's own (`PROC_PID_INIT_INO`).
const FIRST_PIDS: u64 = 0xefff_fffc;
/// Set in every container of a pod, whatever `enableServiceLinks` says.
const IN_KUBERNETES: &str = "KUBERNETES_SERVICE_HOST";

/// Where a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the node itself, started by hand or from a script.
    Host,
    /// In a unit of systemd's.
    Unit,
    /// In a container.
    Container,
    /// In a container of a pod.
    Pod,
}

impl Place {
    /// All of them, in the order of [`Place::pick`].
    pub const ALL: [Self; 4] = [Self::Host, Self::Unit, Self::Container, Self::Pod];

    /// Looks where this process runs.
    pub fn look() -> Self {
        let inode = |path| fs::metadata(path).ok().map(|namespace| namespace.ino());
        let pids = inode("/proc/self/ns/pid");
        let mounts = ["/proc/self/ns/mnt", "/proc/1/ns/mnt"].map(inode);
        Self::of(&Signs {
            has_own_pids: pids.is_some_and(|pids| pids != FIRST_PIDS),
            has_own_mounts: matches!(mounts, [Some(own), Some(first)] if own != first),
            in_kubernetes: env::var_os(IN_KUBERNETES).is_some(),
            cgroups: &fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
        })
    }

    fn of(signs: &Signs<'_>) -> Self {
        match signs {
            // With hostPID, mounts are all that a container has of its own.
            Signs { in_kubernetes: true, has_own_pids, has_own_mounts, .. }
                if *has_own_pids || *has_own_mounts =>
            {
                Self::Pod
            }
            Signs { has_own_pids: true, .. } => Self::Container,
            _ if signs.is_in_unit() => Self::Unit,
            _ => Self::Host,
        }
    }

    /// Whether the node is somewhere else, to whoever gives commands in this place.
    pub const fn is_inside(self) -> bool {
        matches!(self, Self::Container | Self::Pod)
    }

    /// A command that changes the node.
    pub fn command(self, command: &str) -> String {
        let node = if self.is_inside() { "on the node: " } else { "" };
        format!("{node}{command}")
    }

    /// What is true of this place, of one word or sentence for each.
    pub const fn pick<T: Copy>(self, of_all: [T; 4]) -> T {
        of_all[self as usize]
    }
}

/// What a place is told by.
struct Signs<'a> {
    has_own_pids: bool,
    has_own_mounts: bool,
    in_kubernetes: bool,
    /// `/proc/self/cgroup`.
    cgroups: &'a str,
}

impl Signs<'_> {
    /// A user's sessions are units as well, but of another slice.
    fn is_in_unit(&self) -> bool {
        self.cgroups.lines().any(|line| {
            let unit = line.split_once(":/system.slice/").map_or("", |(_, unit)| unit);
            unit.split('/').any(|part| part.ends_with(".service"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Signs<'_> = Signs {
        has_own_pids: false,
        has_own_mounts: false,
        in_kubernetes: false,
        cgroups: "0::/user.slice/user-0.slice/user@0.service/app.slice/shell.scope\n",
    };

    #[test]
    fn each_place_has_its_signs() {
        let unit = "0::/system.slice/system-foreword.slice/foreword@one.service/foreword-7\n";
        let unified = "1:name=systemd:/system.slice/foreword@one.service\n0::/\n";
        for (place, signs) in [
            (Place::Host, HOST),
            (Place::Host, Signs { cgroups: "", ..HOST }),
            (Place::Host, Signs { has_own_mounts: true, ..HOST }),
            (Place::Host, Signs { in_kubernetes: true, ..HOST }),
            (Place::Unit, Signs { cgroups: unit, ..HOST }),
            (Place::Unit, Signs { cgroups: unified, has_own_mounts: true, ..HOST }),
            (Place::Container, Signs { has_own_pids: true, cgroups: "0::/\n", ..HOST }),
            (Place::Container, Signs { has_own_pids: true, cgroups: unit, ..HOST }),
            (Place::Pod, Signs { has_own_pids: true, in_kubernetes: true, ..HOST }),
            (Place::Pod, Signs { has_own_mounts: true, in_kubernetes: true, ..HOST }),
        ] {
            assert_eq!(Place::of(&signs), place, "{:?}", signs.cgroups);
        }
    }

    #[test]
    fn a_place_picks_its_own_words() {
        let words = ["host", "unit", "container", "pod"];
        assert_eq!(Place::ALL.map(|place| place.pick(words)), words);
        assert_eq!(Place::Unit.command("true"), "true");
        assert_eq!(Place::Pod.command("true"), "on the node: true");
    }
}
