//! What is said over the socket: a client writes one line of JSON, an [`Request`], and gets one back, an
//! [`Response`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::word::OneLine;

/// What can be asked of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum Request {
    /// How it stands: a [`Status`](super::report::Status).
    Status,
    /// The same, and it will be kept: counters of rules that are gone need not be told again.
    Scrape,
    /// What is open: a list of [`Connection`](super::report::connections::Connection)s.
    Connections,
    /// To read its configuration again: the lines of what has changed.
    Reload,
    /// Who sends headers: a list of [`Cutover`](super::report::cutover::Cutover)s.
    Cutover {
        /// Of this rule; `None`: of all.
        rule: Option<String>,
        /// For how long nobody may have been without.
        quiet: Duration,
    },
    /// To require headers: what was done, in lines.
    Tighten {
        /// Of this rule; `None`: of the only one.
        rule: Option<String>,
        /// For how long nobody may have been without.
        quiet: Duration,
        /// Whether that does not matter.
        force: bool,
    },
}

/// What comes back.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// What was asked for.
    Response(Value),
    /// Why there is none.
    Error(String),
}

/// A line that is no [`Request`], or no [`Response`]. What it says is one line, whatever was in the other.
#[derive(Debug, thiserror::Error)]
#[error("{}", OneLine(&.0.to_string()))]
pub struct MalformedLine(serde_json::Error);

impl Request {
    /// Understands a line, with or without its end.
    pub fn read(line: &[u8]) -> Result<Self, MalformedLine> {
        serde_json::from_slice(line).map_err(MalformedLine)
    }
}

impl Response {
    /// Understands a line, with or without its end.
    pub fn read(line: &[u8]) -> Result<Self, MalformedLine> {
        serde_json::from_slice(line).map_err(MalformedLine)
    }
}
