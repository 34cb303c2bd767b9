//! Whether this process runs on the host, as a systemd unit, in a container or in a pod. It decides what
//! advice is of use: in a container, commands for the node have to be run elsewhere.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::cgroup;

/// The inode number of the initial pid namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: u64 = 0xefff_fffc;
/// Set in every container of a pod, whatever `enableServiceLinks` says.
const IN_KUBERNETES: &str = "KUBERNETES_SERVICE_HOST";

/// Where a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// On the node itself, started by hand or from a script.
    Host,
    /// As a systemd unit.
    Unit,
    /// In a container.
    Container,
    /// In a container of a Kubernetes pod.
    Pod,
}

impl Environment {
    /// All of them, in the order of [`Environment::pick`].
    pub const ALL: [Self; 4] = [Self::Host, Self::Unit, Self::Container, Self::Pod];

    /// Detects where this process runs.
    pub fn detect() -> Self {
        let inode = |path| fs::metadata(path).ok().map(|namespace| namespace.ino());
        let pids = inode("/proc/self/ns/pid");
        let mounts = ["/proc/self/ns/mnt", "/proc/1/ns/mnt"].map(inode);
        let cgroups = cgroup::own_paths().unwrap_or_default();
        Self::of(&Evidence {
            has_own_pids: pids.is_some_and(|pids| pids != INITIAL_PID_NAMESPACE),
            has_own_mounts: matches!(mounts, [Some(own), Some(first)] if own != first),
            in_kubernetes: env::var_os(IN_KUBERNETES).is_some(),
            cgroups: &cgroups.iter().map(String::as_str).collect::<Vec<_>>(),
        })
    }

    fn of(evidence: &Evidence<'_>) -> Self {
        match evidence {
            // With hostPID, mounts are all that a container has of its own.
            Evidence { in_kubernetes: true, has_own_pids, has_own_mounts, .. }
                if *has_own_pids || *has_own_mounts =>
            {
                Self::Pod
            }
            Evidence { has_own_pids: true, .. } => Self::Container,
            _ if evidence.is_in_unit() => Self::Unit,
            _ => Self::Host,
        }
    }

    /// Whether commands for the node have to be run somewhere else.
    pub const fn is_inside(self) -> bool {
        matches!(self, Self::Container | Self::Pod)
    }

    /// A command for the node, in words.
    pub fn command(self, command: &str) -> String {
        let node = if self.is_inside() { "on the node: " } else { "" };
        format!("{node}{command}")
    }

    /// The choice for this environment, out of one for each.
    pub const fn pick<T: Copy>(self, of_all: [T; 4]) -> T {
        of_all[self as usize]
    }
}

/// What an environment is recognised by.
struct Evidence<'a> {
    has_own_pids: bool,
    has_own_mounts: bool,
    in_kubernetes: bool,
    /// The paths of the process's cgroups.
    cgroups: &'a [&'a str],
}

impl Evidence<'_> {
    /// A user's sessions are units, too, but in another slice.
    fn is_in_unit(&self) -> bool {
        let units = self.cgroups.iter().filter_map(|path| path.strip_prefix("/system.slice/"));
        units.flat_map(|unit| unit.split('/')).any(|part| part.ends_with(".service"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Evidence<'_> = Evidence {
        has_own_pids: false,
        has_own_mounts: false,
        in_kubernetes: false,
        cgroups: &["/user.slice/user-0.slice/user@0.service/app.slice/shell.scope"],
    };

    #[test]
    fn each_environment_is_recognised() {
        let unit: &[_] = &["/system.slice/system-foreword.slice/foreword@one.service/foreword-7"];
        let hybrid: &[_] = &["/system.slice/foreword@one.service", "/"];
        for (expected, evidence) in [
            (Environment::Host, HOST),
            (Environment::Host, Evidence { cgroups: &[], ..HOST }),
            (Environment::Host, Evidence { has_own_mounts: true, ..HOST }),
            (Environment::Host, Evidence { in_kubernetes: true, ..HOST }),
            (Environment::Unit, Evidence { cgroups: unit, ..HOST }),
            (Environment::Unit, Evidence { cgroups: hybrid, has_own_mounts: true, ..HOST }),
            (Environment::Container, Evidence { has_own_pids: true, cgroups: &["/"], ..HOST }),
            (Environment::Container, Evidence { has_own_pids: true, cgroups: unit, ..HOST }),
            (Environment::Pod, Evidence { has_own_pids: true, in_kubernetes: true, ..HOST }),
            (Environment::Pod, Evidence { has_own_mounts: true, in_kubernetes: true, ..HOST }),
        ] {
            assert_eq!(Environment::of(&evidence), expected, "{:?}", evidence.cgroups);
        }
    }

    #[test]
    fn each_environment_gets_its_own_choice() {
        let words = ["host", "unit", "container", "pod"];
        assert_eq!(Environment::ALL.map(|it| it.pick(words)), words);
        assert_eq!(Environment::Unit.command("true"), "true");
        assert_eq!(Environment::Pod.command("true"), "on the node: true");
    }
}
