//! Turns what was written into settings, or says what is wrong with it.
//!
//! Every refusal is one sentence that names the field, the value and the fix. Nothing is guessed
//! and nothing has a silent default: what is missing here was given its default, visibly, where
//! it was read.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::raw::RawAttach;
use super::settings::{Mode, Ports, Rule, Settings};
use crate::address::CidrError;

mod guard;
pub(crate) mod inbound;
mod outbound;
mod steering;
mod upstream;

/// How long a connection may be idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// More threads than any machine has CPUs are a typing error.
const MAX_WORKERS: usize = 1024;

/// Why a configuration is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No interface was named, or no port.
    #[error("{field} is missing; {fix}")]
    Missing {
        /// The field, as it is written.
        field: &'static str,
        /// What to write.
        fix: &'static str,
    },
    /// A value is not of the field's kind.
    #[error("{field} '{value}' is not valid; {fix}")]
    Value {
        /// The field, as it is written.
        field: &'static str,
        /// What was written.
        value: String,
        /// What to write instead.
        fix: String,
    },
    /// An address range is not valid.
    #[error("{field}: {error}")]
    Range {
        /// The field, as it is written.
        field: &'static str,
        /// What is wrong with it.
        error: CidrError,
    },
    /// Headers are to be read, but nobody's are believed.
    #[error(
        "--inbound {mode} needs --trust: name the load balancers' addresses, such as --trust \
         10.0.0.0/8, or write --trust 0.0.0.0/0,::/0 to believe everybody"
    )]
    TrustsNobody {
        /// `require` or `optional`.
        mode: Mode,
    },
}

pub(crate) fn refuse(field: &'static str, value: &str, fix: impl Into<String>) -> Invalid {
    Invalid::Value { field, value: value.to_owned(), fix: fix.into() }
}

/// Judges a command line. Looks the upstream's name up, which can take as long as DNS does.
pub fn validate(raw: &RawAttach) -> Result<Settings, Invalid> {
    let upstream = upstream::upstream(raw)?;
    Ok(Settings {
        steering: steering::steering(raw, upstream.source)?,
        take_over: raw.take_over,
        workers: raw.workers.as_deref().map(workers).transpose()?,
        drain_timeout: duration("--drain-timeout", &raw.drain_timeout)?,
        rules: vec![Rule {
            ports: ports(&raw.ports)?,
            inbound: inbound::inbound(raw)?,
            outbound: outbound::outbound(raw)?,
            upstream,
            idle_timeout: IDLE_TIMEOUT,
            guard: guard::guard(raw)?,
            when_absent: guard::when_absent(&raw.when_absent)?,
        }],
    })
}

fn workers(text: &str) -> Result<NonZeroUsize, Invalid> {
    match text.parse::<NonZeroUsize>() {
        Ok(count) if count.get() <= MAX_WORKERS => Ok(count),
        _ => Err(refuse("--workers", text, format!("write a number from 1 to {MAX_WORKERS}"))),
    }
}

pub(crate) fn duration(field: &'static str, text: &str) -> Result<Duration, Invalid> {
    humantime::parse_duration(text)
        .map_err(|_| refuse(field, text, "write a time with its unit, such as 30s or 500ms"))
}

fn ports(words: &[String]) -> Result<Ports, Invalid> {
    let mut ranges = words.iter().map(|word| port_range(word)).collect::<Result<Vec<_>, _>>()?;
    if ranges.is_empty() {
        let fix = "name the ports to protect, such as --port 80,443 or --port 8000-8010";
        return Err(Invalid::Missing { field: "--port", fix });
    }
    ranges.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u16>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start() <= last.end() => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => merged.push(range),
        }
    }
    Ok(Ports(merged))
}

fn port_range(word: &str) -> Result<RangeInclusive<u16>, Invalid> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(refuse(
            "--port",
            word,
            "write a port from 1 to 65535, or a range such as 8000-8010",
        )),
    };
    let Some((first, last)) = word.split_once('-') else {
        return port(word).map(|port| port..=port);
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(refuse(
            "--port",
            word,
            format!("write the smaller port first: {last}-{first}"),
        ));
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests;
