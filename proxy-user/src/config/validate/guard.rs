//! What is turned away before there is a connection, and what happens without a process.

use std::num::NonZeroU32;

use super::{Invalid, RawAttach, refuse};
use crate::config::settings::{Guard, WhenAbsent};

/// Above a thousand million a second, the share of one connection is less than a nanosecond.
const HIGHEST_SYN_LIMIT: u32 = 1_000_000_000;

pub(super) fn guard(raw: &RawAttach) -> Result<Guard, Invalid> {
    let enabled = match raw.guard.as_str() {
        "on" => true,
        "off" => false,
        other => return Err(refuse("--guard", other, "write on or off")),
    };
    let syn_limit = match raw.syn_limit.parse::<u32>() {
        Ok(limit) if limit <= HIGHEST_SYN_LIMIT => NonZeroU32::new(limit),
        _ => {
            let fix = format!(
                "write how many connections a source may open in a second, up to \
                 {HIGHEST_SYN_LIMIT}, or 0 for any number"
            );
            return Err(refuse("--syn-limit", &raw.syn_limit, fix));
        }
    };
    if !enabled && syn_limit.is_some() {
        let fix = "write --guard on, which counts them, or leave the limit out";
        return Err(refuse("--syn-limit", &raw.syn_limit, fix));
    }
    Ok(Guard { enabled, syn_limit })
}

pub(super) fn when_absent(text: &str) -> Result<WhenAbsent, Invalid> {
    match text {
        "pass" => Ok(WhenAbsent::Pass),
        "drop" => Ok(WhenAbsent::Drop),
        _ => Err(refuse("--when-absent", text, "write pass or drop")),
    }
}
