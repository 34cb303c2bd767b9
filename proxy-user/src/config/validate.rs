//! Turns what was written into settings, or says what is wrong with it.
//!
//! Every refusal is one sentence that names the field, the value and the fix. Nothing is guessed
//! and nothing has a silent default: what is missing here was given its default, visibly, where
//! it was read.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::field::{self, At, Field};
use super::raw::RawConfig;
use super::settings::{Mode, Rule, Settings, Source, Steering};
use super::word::{OneLine, Position, Word};
use crate::address::CidrError;

mod admin;
mod guard;
pub(crate) mod inbound;
mod limits;
mod names;
mod outbound;
mod ports;
pub(super) mod rules;
mod steering;
mod upstream;

pub use self::names::{Found, Names};

/// More threads than any machine has CPUs are a typing error.
const MAX_WORKERS: usize = 1024;

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Something has to be named, and nothing is.
    #[error("{field} is missing; {fix}")]
    Missing {
        /// The field, as it is written.
        field: String,
        /// What to write.
        fix: String,
    },
    /// A value is not of the field's kind.
    #[error("{field} '{}' is not valid; {fix}", OneLine(.value))]
    Value {
        /// The field, as it is written.
        field: String,
        /// What was written.
        value: String,
        /// What to write instead.
        fix: String,
        /// Where it stands, in a file.
        position: Option<Position>,
    },
    /// An address range is not valid.
    #[error("{field}: {}", OneLine(&.error.to_string()))]
    Range {
        /// The field, as it is written.
        field: String,
        /// What is wrong with it.
        error: CidrError,
        /// Where it stands, in a file.
        position: Option<Position>,
    },
    /// Headers are to be read, but nobody's are believed.
    #[error(
        "{wanted} needs {trust}: name the load balancers' addresses, such as {example}, or write \
         {everybody} to believe everybody"
    )]
    TrustsNobody {
        /// `--inbound require`, as it is written.
        wanted: String,
        /// `--trust`, as it is written.
        trust: &'static str,
        /// A range.
        example: String,
        /// All ranges.
        everybody: String,
        /// Where the mode stands, in a file.
        position: Option<Position>,
    },
}

impl Invalid {
    /// Where the mistake is, in a file.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Missing { .. } => None,
            Self::Value { position, .. }
            | Self::Range { position, .. }
            | Self::TrustsNobody { position, .. } => *position,
        }
    }

    fn trusts_nobody(at: At<'_>, mode: Mode, word: &Word) -> Self {
        let (example, everybody) = match at {
            At::Flags => ("10.0.0.0/24", "0.0.0.0/0,::/0"),
            At::File | At::Rule(_) => ("[10.0.0.0/24]", "[\"0.0.0.0/0\", \"::/0\"]"),
        };
        Self::TrustsNobody {
            wanted: at.write_of_rule(field::MODE, &mode.to_string()),
            trust: at.short(field::TRUSTED),
            example: at.write(field::TRUSTED, example),
            everybody: at.write(field::TRUSTED, everybody),
            position: word.position(),
        }
    }
}

/// How the words were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// As flags of `foreword attach`: one rule.
    Flags,
    /// In a file.
    File,
}

/// Judges interfaces that were named on a command line; `None`: there are none.
pub fn interfaces(words: &[Word]) -> Result<Option<Steering>, Invalid> {
    let patterns = steering::patterns(At::Flags, field::INTERFACES, words)?;
    Ok((!patterns.is_empty()).then(|| Steering::on(patterns)))
}

/// Judges a configuration by its words alone. What its upstreams' names stand for is judged when it is
/// known ([`Names`]).
pub fn validate(raw: &RawConfig, written: Written) -> Result<Settings, Invalid> {
    let at = match written {
        Written::Flags => At::Flags,
        Written::File => At::File,
    };
    let rules = rules::rules(raw, written)?;
    let shows_client = rules.iter().any(Rule::shows_clients);
    let source = if shows_client { Source::Client } else { Source::Node };
    Ok(Settings {
        steering: steering::steering(raw, at, source)?,
        take_over: false,
        workers: raw.workers.as_ref().map(|word| workers(at, word)).transpose()?,
        drain_timeout: duration(at, field::DRAIN_TIMEOUT, &raw.drain_timeout)?,
        limits: limits::limits(at, &raw.limits)?,
        admin: admin::admin(at, &raw.admin)?,
        rules,
    })
}

fn workers(at: At<'_>, word: &Word) -> Result<NonZeroUsize, Invalid> {
    match word.parse::<NonZeroUsize>() {
        Ok(count) if count.get() <= MAX_WORKERS => Ok(count),
        _ => {
            let fix = format!("write a number from 1 to {MAX_WORKERS}");
            Err(at.refuse(field::WORKERS, word, fix))
        }
    }
}

pub(crate) fn duration(at: At<'_>, field: Field, word: &Word) -> Result<Duration, Invalid> {
    humantime::parse_duration(word)
        .map_err(|_| at.refuse(field, word, "write a time with its unit, such as 30s or 500ms"))
}

/// A time that must not be 0.
fn some_time(at: At<'_>, field: Field, word: &Word) -> Result<Duration, Invalid> {
    match duration(at, field, word)? {
        Duration::ZERO => Err(at.refuse(field, word, "write a time above 0")),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests;
