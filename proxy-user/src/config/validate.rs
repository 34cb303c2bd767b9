//! Turns what was written into settings, or says what is wrong with it.
//!
//! Every refusal is one sentence that names the option, the value and the fix. Nothing is guessed, and
//! nothing is checked again later. An option's values and its conflicts with others are judged in one
//! function.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::field::{Field, Syntax, field};
use super::invalid::Invalid;
use super::raw::RawConfig;
use super::settings::{Rule, Settings, Source, Steering};
use super::value::RawValue;

mod admin;
mod guard;
mod inbound;
mod limits;
mod names;
mod outbound;
mod ports;
pub(super) mod rules;
mod scope;
mod steering;
mod upstream;

pub use self::names::{Found, Names};
use self::scope::Scope;

/// More threads than any machine has CPUs are a typing error.
const MAX_WORKERS: usize = 1024;

/// Validates a configuration by its text alone. What its upstreams' names stand for is validated when
/// it is known ([`Names`]).
pub fn validate(raw: &RawConfig, syntax: Syntax) -> Result<Settings, Invalid> {
    let scope = Scope::top(syntax);
    let rules = rules::rules(raw, syntax)?;
    let shows_client = rules.iter().any(Rule::shows_clients);
    let source = if shows_client { Source::Client } else { Source::Node };
    Ok(Settings {
        steering: steering::steering(raw, scope, source)?,
        take_over: false,
        workers: raw.workers.as_ref().map(|value| workers(scope, value)).transpose()?,
        drain_timeout: duration(scope, field!(drain_timeout), &raw.drain_timeout)?,
        limits: limits::limits(scope, &raw.limits)?,
        admin: admin::admin(scope, &raw.admin)?,
        rules,
    })
}

/// Validates interfaces that a command line names, and what steering is if nothing else is said;
/// `None`: it names none.
pub fn interfaces(names: &[String]) -> Result<Option<Steering>, Invalid> {
    if names.is_empty() {
        return Ok(None);
    }
    let interfaces = names.iter().map(|name| name.as_str().into()).collect();
    let raw = RawConfig { interfaces, ..RawConfig::default() };
    steering::steering(&raw, Scope::top(Syntax::Flags), Source::Node).map(Some)
}

/// The time that a command's flag says.
pub fn flag_duration(flag: &str, text: &str) -> Result<Duration, Invalid> {
    parse_duration(text).ok_or_else(|| Invalid::flag(flag, text, TIME_WITH_UNIT))
}

/// The longest header that a command's `--max-header` allows.
pub fn flag_max_header(text: &str) -> Result<usize, Invalid> {
    inbound::max_header(Scope::top(Syntax::Flags), &text.into())
}

fn workers(scope: Scope<'_>, value: &RawValue) -> Result<NonZeroUsize, Invalid> {
    match value.parse::<NonZeroUsize>() {
        Ok(count) if count.get() <= MAX_WORKERS => Ok(count),
        _ => {
            let fix = format!("write a number from 1 to {MAX_WORKERS}");
            Err(scope.refuse(field!(workers), value, fix))
        }
    }
}

const TIME_WITH_UNIT: &str = "write a time with its unit, such as 30s or 500ms";

fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

fn duration(scope: Scope<'_>, field: Field, value: &RawValue) -> Result<Duration, Invalid> {
    parse_duration(value).ok_or_else(|| scope.refuse(field, value, TIME_WITH_UNIT))
}

/// A time that must not be 0.
fn positive_duration(
    scope: Scope<'_>,
    field: Field,
    value: &RawValue,
) -> Result<Duration, Invalid> {
    match duration(scope, field, value)? {
        Duration::ZERO => Err(scope.refuse(field, value, "write a time above 0")),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests;
