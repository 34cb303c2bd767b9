//! What this process may do, and how many files it may open.

use std::fs;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A Linux capability that Foreword cannot do without: its bit, its name, what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    bit: u32,
    /// As in `capabilities(7)`.
    pub name: &'static str,
    /// What fails without it.
    pub purpose: &'static str,
}

/// Everything that steering and relaying need; bits from `include/uapi/linux/capability.h`.
/// `CAP_SYS_ADMIN` covers what newer kernels have split off as `CAP_BPF` and `CAP_PERFMON`.
const NEEDED: [Capability; 2] = [
    Capability {
        bit: 12,
        name: "CAP_NET_ADMIN",
        purpose: "attaching to interfaces and listening transparently",
    },
    Capability {
        bit: 21,
        name: "CAP_SYS_ADMIN",
        purpose: "loading eBPF programs and making a network namespace",
    },
];

/// The capabilities that this process lacks, as `/proc/self/status` says.
pub fn missing() -> io::Result<Vec<Capability>> {
    let held = held()?;
    Ok(NEEDED.into_iter().filter(|needed| held & (1 << needed.bit) == 0).collect())
}

/// Whether this process has a capability that Foreword can do without: the kernel then lets it have
/// larger pipes than others, for one.
pub fn has_resource() -> io::Result<bool> {
    /// `CAP_SYS_RESOURCE`.
    const BIT: u32 = 24;
    Ok(held()? & (1 << BIT) != 0)
}

/// The bits of the capabilities in effect.
fn held() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Ok(line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0))
}

/// How many files this process may open: as it is, and as far as it may raise that itself.
pub fn file_limits() -> nix::Result<(u64, u64)> {
    getrlimit(Resource::RLIMIT_NOFILE)
}

/// Raises the soft limit of open files to the hard one, and says what it is now.
pub fn raise_file_limit() -> nix::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}
