//! What is judged. Gathering it needs no privileges, but sees more with them.

use std::io;
use std::path::PathBuf;
use std::thread;

use super::intent::Intent;
use crate::budget::MemoryBudget;
use crate::steer::survey::{self, Survey};
use crate::sys::environment::Environment;
use crate::sys::fact::{Fact, Unknown};
use crate::sys::{capability, cgroup, kernel, rlimit, sysctl};

/// A value below `/proc/sys`; `None` if it does not exist here.
pub type Setting = Fact<Option<String>>;

/// The node, and this process on it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where this process runs, which decides what can be done about the rest.
    pub environment: Environment,
    /// The kernel.
    pub kernel: Kernel,
    /// This process.
    pub process: Process,
    /// Settings of the kernel.
    pub settings: Settings,
    /// Where cgroup2 is mounted.
    pub cgroup: Fact<PathBuf>,
    /// What steering meets.
    pub survey: Survey,
}

/// Which kernel it is.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its release.
    pub release: Fact<String>,
    /// Its lockdown mode; `None` if it shows none.
    pub lockdown: Fact<Option<String>>,
}

/// What this process may do, as a Foreword started in the same way could.
#[derive(Clone, Debug)]
pub struct Process {
    /// The capabilities that are missing, by name.
    pub missing: Fact<Vec<&'static str>>,
    /// Whether it has `CAP_SYS_RESOURCE`.
    pub has_resource: bool,
    /// How many files it may open: as it is, and at most.
    pub files: Fact<(u64, u64)>,
    /// How much memory there is for it.
    pub memory: Fact<MemoryBudget>,
    /// How many CPUs it may use.
    pub cpus: Fact<usize>,
}

/// Values below `/proc/sys`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether eBPF is compiled.
    pub jit: Setting,
    /// Whether compiled eBPF is hardened.
    pub jit_harden: Setting,
    /// Whether ordinary users may load eBPF.
    pub unprivileged_bpf: Setting,
    /// Whether programs' run times are taken.
    pub bpf_stats: Setting,
    /// SYN cookies.
    pub syncookies: Setting,
    /// Reverse-path filter, of all interfaces.
    pub rp_filter: Setting,
    /// Whether marks take part in that.
    pub src_valid_mark: Setting,
    /// Forwarding, of IPv4 and IPv6.
    pub forwarding: [Setting; 2],
    /// The local ports that the kernel chooses from: the first and the last.
    pub local_ports: Setting,
    /// Those of them that it does not choose.
    pub reserved_ports: Setting,
    /// Whether a port of a connection that has ended is used again after a second.
    pub tw_reuse: Setting,
    /// The longest pipe for ordinary processes, in bytes.
    pub pipe_size: Setting,
    /// Pages in all pipes of an ordinary user, before new ones are short; 0: any number.
    pub pipe_pages_soft: Setting,
    /// Pages in all pipes of an ordinary user, before new ones are refused; 0: any number.
    pub pipe_pages_hard: Setting,
}

impl Facts {
    /// Looks at everything that matters to what is meant.
    pub fn gather(intent: &Intent) -> Self {
        Self {
            environment: Environment::detect(),
            kernel: Kernel { release: kernel::release(), lockdown: kernel::lockdown() },
            process: Process::look(),
            settings: Settings::read(),
            cgroup: Ok(cgroup::mount_point()).and_then(|found| Ok(found?)),
            survey: survey::look(intent.steering.as_ref(), &intent.rules, &intent.names),
        }
    }
}

impl Process {
    fn look() -> Self {
        let missing = capability::missing().map_err(Unknown::because);
        Self {
            missing: missing.map(|all| all.iter().map(|capability| capability.name).collect()),
            has_resource: capability::has_sys_resource().unwrap_or(false),
            files: rlimit::open_files().map_err(|error| io::Error::from(error).into()),
            memory: MemoryBudget::look().map_err(|error| Unknown::because(format!("{error:#}"))),
            cpus: thread::available_parallelism().map(Into::into).map_err(Into::into),
        }
    }
}

impl Settings {
    fn read() -> Self {
        let read = |name| Ok(sysctl::read(name)?);
        Self {
            jit: read("net/core/bpf_jit_enable"),
            jit_harden: read("net/core/bpf_jit_harden"),
            unprivileged_bpf: read("kernel/unprivileged_bpf_disabled"),
            bpf_stats: read("kernel/bpf_stats_enabled"),
            syncookies: read("net/ipv4/tcp_syncookies"),
            rp_filter: read("net/ipv4/conf/all/rp_filter"),
            src_valid_mark: read("net/ipv4/conf/all/src_valid_mark"),
            forwarding: ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"].map(read),
            local_ports: read("net/ipv4/ip_local_port_range"),
            reserved_ports: read("net/ipv4/ip_local_reserved_ports"),
            tw_reuse: read("net/ipv4/tcp_tw_reuse"),
            pipe_size: read("fs/pipe-max-size"),
            pipe_pages_soft: read("fs/pipe-user-pages-soft"),
            pipe_pages_hard: read("fs/pipe-user-pages-hard"),
        }
    }
}
