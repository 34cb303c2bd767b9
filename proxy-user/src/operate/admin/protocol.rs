//! The protocol of the admin socket: a client writes one line of JSON, a [`Request`], and gets one back, a
//! [`Response`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::value::OneLine;

/// What can be asked of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum Request {
    /// The state of the run: a [`Status`](super::report::Status).
    Status,
    /// The [`Status`](super::report::Status) for a client that stores it, so that the counters of rules that
    /// are gone need not be repeated.
    Scrape,
    /// The open connections: a list of [`Connection`](super::report::connections::Connection)s.
    Connections,
    /// A reload of the configuration. The response is what has changed, in lines.
    Reload,
    /// Who sends headers: a list of [`Cutover`](super::report::cutover::Cutover)s.
    Cutover {
        /// Of this rule; `None`: of all.
        rule: Option<String>,
        /// For how long no trusted source may have connected without a header.
        quiet: Duration,
    },
    /// A rule shall require headers. The response is what was done, in lines.
    Tighten {
        /// Of this rule; `None`: of the only one.
        rule: Option<String>,
        /// For how long no trusted source may have connected without a header.
        quiet: Duration,
        /// Whether to do it even so.
        force: bool,
    },
}

/// What a run answers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// The answer, as JSON.
    Response(Value),
    /// Why there is no answer.
    Error(String),
}

/// A line that is not a valid [`Request`] or [`Response`]. Its message is a single line, whatever the input.
#[derive(Debug, thiserror::Error)]
#[error("{}", OneLine(&.0.to_string()))]
pub struct MalformedLine(serde_json::Error);

impl Request {
    /// Parses a line, with or without its line feed.
    pub fn read(line: &[u8]) -> Result<Self, MalformedLine> {
        serde_json::from_slice(line).map_err(MalformedLine)
    }
}

impl Response {
    /// Parses a line, with or without its line feed.
    pub fn read(line: &[u8]) -> Result<Self, MalformedLine> {
        serde_json::from_slice(line).map_err(MalformedLine)
    }
}
