//! A rule in words, for the lines at a start and for reports.

use crate::address::list;
use crate::config::settings::{Rule, Untrusted};

/// One line: ports, who has to send a header, what the upstream gets, and where that is.
pub fn describe(rule: &Rule) -> String {
    let Rule { ports, inbound, outbound, upstream, .. } = rule;
    let of = match rule.destinations.as_slice() {
        [] => String::new(),
        ranges => format!(" of {}", list(ranges)),
    };
    let trusted = list(&inbound.trusted);
    let header = match inbound.mode {
        mode if trusted.is_empty() => format!("inbound header {mode}"),
        mode => format!("inbound header {mode}, from {trusted}"),
    };
    let others = match inbound.untrusted {
        _ if trusted.is_empty() => "",
        Untrusted::Refuse => " (others are refused)",
        Untrusted::Direct => " (others are clients of their own)",
    };
    let outbound =
        outbound.version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    let address = &upstream.address;
    format!("port {ports}{of}: {header}{others}; outbound header {outbound}; to {address}")
}
