//! What is dropped before there is a connection.

use std::num::NonZeroU32;

use super::scope::Scope;
use crate::config::field::{Syntax, field};
use crate::config::invalid::Invalid;
use crate::config::raw::{OnOff, RawGuard};
use crate::config::settings::Guard;

/// Above a thousand million a second, the share of one connection is less than a nanosecond.
const HIGHEST_SYN_LIMIT: u32 = 1_000_000_000;

pub(super) fn guard(scope: Scope<'_>, raw: &RawGuard) -> Result<Guard, Invalid> {
    let answers: OnOff = scope.choice(field!(rule.guard.answers), &raw.answers)?;
    Ok(Guard {
        enabled: raw.enabled,
        syn_limit: syn_limit(scope, raw)?,
        answers: answers == OnOff::On,
    })
}

/// `None`: any number. Without the guard, nobody would count.
fn syn_limit(scope: Scope<'_>, raw: &RawGuard) -> Result<Option<NonZeroU32>, Invalid> {
    let value = &raw.syn_per_second_per_source;
    let refuse =
        |fix: String| scope.refuse(field!(rule.guard.syn_per_second_per_source), value, fix);
    let limit = value.parse::<u32>().ok().filter(|limit| *limit <= HIGHEST_SYN_LIMIT);
    let limit = limit.ok_or_else(|| {
        refuse(format!(
            "write how many connections a source may open in a second, up to {HIGHEST_SYN_LIMIT}, \
             or 0 for any number"
        ))
    })?;
    if !raw.enabled && limit > 0 {
        let on = match scope.syntax() {
            Syntax::Flags => "on",
            Syntax::File => "true",
        };
        let on = scope.write(field!(rule.guard.enabled), on);
        return Err(refuse(format!("write {on}, which counts them, or leave the limit out")));
    }
    Ok(NonZeroU32::new(limit))
}
