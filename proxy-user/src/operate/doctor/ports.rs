//! How fast connections to one upstream can follow each other, by the local ports that there are.
//!
//! A connection takes one of this node's ports towards its upstream. If it is we who end it first, as
//! when the client does, the port stays taken for a minute after its end (`TIME_WAIT`).

use std::ops::RangeInclusive;

use super::Finding;
use super::facts::{Facts, Setting};

const CHECK: &str = "local-ports";
/// For how long the kernel keeps a port whose connection we have ended first, in seconds.
const TIME_WAIT: u64 = 60;
/// So many connections a second are more than most rules have.
const PLENTY: u64 = 200;

pub fn judge(facts: &Facts) -> Option<Finding> {
    let settings = &facts.settings;
    let range = match &settings.local_ports {
        Ok(range) => ports(range.as_deref()?)?,
        Err(unknown) => {
            return Some(Finding::unknown(CHECK, "net.ipv4.ip_local_port_range", unknown));
        }
    };
    let (first, last) = (*range.start(), *range.end());
    let count = range.count() as u64 - reserved(&settings.reserved_ports, first..=last);
    if is(&settings.tw_reuse, "1") {
        let what = format!("{count} local ports, each free again a second after its connection");
        return Some(Finding::ok(CHECK, what));
    }
    let rate = count / TIME_WAIT;
    let what = format!(
        "{count} local ports ({first}-{last}): {rate} new connections a second to one upstream address, \
         if clients close first"
    );
    if rate >= PLENTY {
        return Some(Finding::ok(CHECK, what));
    }
    let node = if facts.environment.is_inside() { "on the node, " } else { "" };
    let fix = format!(
        "if that is too few, give rules more of the node's addresses (upstream.sourceAddresses: \
         each has as many ports), or, {node}widen net.ipv4.ip_local_port_range or set \
         net.ipv4.tcp_tw_reuse to 1; further connections are refused (no-local-port)"
    );
    Some(Finding::warning(CHECK, what, fix))
}

fn is(setting: &Setting, value: &str) -> bool {
    matches!(setting, Ok(Some(word)) if word == value)
}

/// `32768 60999`.
fn ports(words: &str) -> Option<RangeInclusive<u16>> {
    let mut words = words.split_whitespace().map(str::parse);
    let (Ok(first), Ok(last)) = (words.next()?, words.next()?) else { return None };
    Some(first..=last)
}

/// How many of a range's ports are in a list such as `40000,41000-41999`.
fn reserved(setting: &Setting, of: RangeInclusive<u16>) -> u64 {
    let Ok(Some(words)) = setting else { return 0 };
    let ranges = words.split(',').filter_map(|item| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let [first, last] = [first, last].map(|port| port.trim().parse::<u16>());
        Some(first.ok()?.max(*of.start())..=last.ok()?.min(*of.end()))
    });
    ranges.map(|range| range.count() as u64).sum()
}
