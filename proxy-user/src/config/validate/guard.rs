//! What is turned away before there is a connection, and what happens without a process.

use std::num::NonZeroU32;

use super::Invalid;
use crate::config::field::{self, At};
use crate::config::raw::RawGuard;
use crate::config::settings::{Guard, WhenAbsent};
use crate::config::word::Word;

/// Above a thousand million a second, the share of one connection is less than a nanosecond.
const HIGHEST_SYN_LIMIT: u32 = 1_000_000_000;

pub(super) fn guard(at: At<'_>, raw: &RawGuard) -> Result<Guard, Invalid> {
    let word = &raw.syn_per_second_per_source;
    let syn_limit = match word.parse::<u32>() {
        Ok(limit) if limit <= HIGHEST_SYN_LIMIT => NonZeroU32::new(limit),
        _ => {
            let fix = format!(
                "write how many connections a source may open in a second, up to \
                 {HIGHEST_SYN_LIMIT}, or 0 for any number"
            );
            return Err(at.refuse(field::SYN_LIMIT, word, fix));
        }
    };
    if !raw.enabled && syn_limit.is_some() {
        let on = match at {
            At::Flags => "on",
            At::File | At::Rule(_) => "true",
        };
        let on = at.write(field::GUARD, on);
        let fix = format!("write {on}, which counts them, or leave the limit out");
        return Err(at.refuse(field::SYN_LIMIT, word, fix));
    }
    let answers = match &*raw.answers {
        "on" => true,
        "off" => false,
        _ => return Err(at.refuse(field::ANSWERS, &raw.answers, "write on or off")),
    };
    Ok(Guard { enabled: raw.enabled, syn_limit, answers })
}

pub(super) fn when_absent(at: At<'_>, word: &Word) -> Result<WhenAbsent, Invalid> {
    match &**word {
        "pass" => Ok(WhenAbsent::Pass),
        "drop" => Ok(WhenAbsent::Drop),
        _ => Err(at.refuse(field::WHEN_ABSENT, word, "write pass or drop")),
    }
}
