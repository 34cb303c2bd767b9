//! The host's network sysctls, for the private namespace: a new namespace starts with the kernel's
//! defaults.

use crate::sys::sysctl;

/// What administrators tune on a node and expect every connection to follow, steered or not.
const COPIED: [&str; 24] = [
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

/// A sysctl's name and value.
type Setting = (String, String);

/// Reads the values of the calling thread's namespace, as far as this kernel has them.
pub fn read() -> Vec<Setting> {
    let names = COPIED.into_iter().map(|name| format!("net/{name}"));
    names.filter_map(|name| sysctl::read(&name).ok()?.map(|value| (name, value))).collect()
}

/// Writes values to the calling thread's namespace. One that this kernel keeps global, or that only
/// the initial namespace may set, stays at the kernel's default.
pub fn apply(settings: &[Setting]) {
    for (name, value) in settings {
        if let Err(error) = sysctl::write(name, value) {
            tracing::debug!(%error, name, "the host's value is not followed");
        }
    }
}
