//! Network sysctls of the calling thread's namespace. A new namespace inherits none of the host's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::sys::sysctls;

/// What an administrator tunes on a node and expects every connection to follow, steered or not.
const FOLLOWED: [&str; 24] = [
    "core/somaxconn",
    "ipv4/ip_default_ttl",
    "ipv4/ip_local_port_range",
    "ipv4/tcp_congestion_control",
    "ipv4/tcp_ecn",
    "ipv4/tcp_fastopen",
    "ipv4/tcp_fin_timeout",
    "ipv4/tcp_keepalive_intvl",
    "ipv4/tcp_keepalive_probes",
    "ipv4/tcp_keepalive_time",
    "ipv4/tcp_max_syn_backlog",
    "ipv4/tcp_max_tw_buckets",
    "ipv4/tcp_notsent_lowat",
    "ipv4/tcp_orphan_retries",
    "ipv4/tcp_retries2",
    "ipv4/tcp_rmem",
    "ipv4/tcp_slow_start_after_idle",
    "ipv4/tcp_synack_retries",
    "ipv4/tcp_syncookies",
    "ipv4/tcp_timestamps",
    "ipv4/tcp_tw_reuse",
    "ipv4/tcp_wmem",
    "ipv6/conf/all/hop_limit",
    "ipv6/conf/default/hop_limit",
];

/// A sysctl and its value.
type Setting = (&'static str, String);

/// The values to follow, as far as this kernel has them.
pub fn read_followed() -> Vec<Setting> {
    let read = |name| Some((name, fs::read_to_string(path(name)).ok()?));
    FOLLOWED.into_iter().filter_map(read).collect()
}

/// Writes values that another namespace had. One that this kernel keeps global, or that a plain
/// namespace may not choose, stays at the kernel's default.
pub fn follow(settings: &[Setting]) {
    for (name, value) in settings {
        if let Err(error) = sysctls::write(&path(name), value) {
            tracing::debug!(%error, name, "the host's value is not followed");
        }
    }
}

/// A value as it is now; `None` if this kernel has no such thing.
pub fn get(name: &str) -> Option<String> {
    Some(fs::read_to_string(path(name)).ok()?.trim().to_owned())
}

/// Writes one value that has to be.
pub fn set(name: &str, value: &str) -> Result<()> {
    sysctls::write(&path(name), value).with_context(|| format!("cannot set net/{name} to {value}"))
}

/// Whether this kernel has IPv6.
pub fn has_ipv6() -> bool {
    path("ipv6").is_dir()
}

/// The text of a file below `/proc/net`, of the calling thread's namespace.
pub fn proc_net(name: &str) -> io::Result<String> {
    match fs::read_to_string(Path::new("/proc/thread-self/net").join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys/net").join(name)
}
