//! Why a configuration is refused: one sentence that names the option, the value and the fix.

use super::value::{OneLine, Position};
use crate::address::CidrError;

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A value is missing.
    #[error("{field} is missing; {fix}")]
    Missing {
        /// The option, as it is written.
        field: String,
        /// What to write.
        fix: String,
        /// Where the rule is that lacks it, in a file.
        position: Option<Position>,
    },
    /// A value is not of the option's form.
    #[error("{field} '{}' is not valid; {fix}", OneLine(.value))]
    Value {
        /// The option, as it is written.
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
        /// The option, as it is written.
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
        trust: String,
        /// A range.
        example: String,
        /// All ranges.
        everybody: String,
        /// Where the mode stands, in a file.
        position: Option<Position>,
    },
}

impl Invalid {
    /// A flag's value is not of the flag's form.
    pub fn flag(flag: &str, value: &str, fix: impl Into<String>) -> Self {
        Self::Value {
            field: flag.to_owned(),
            value: value.to_owned(),
            fix: fix.into(),
            position: None,
        }
    }

    /// A command line lacks an argument.
    pub fn missing_argument(argument: &str, fix: impl Into<String>) -> Self {
        Self::Missing { field: argument.to_owned(), fix: fix.into(), position: None }
    }

    /// Where the mistake is, in a file.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Missing { position, .. }
            | Self::Value { position, .. }
            | Self::Range { position, .. }
            | Self::TrustsNobody { position, .. } => *position,
        }
    }
}
