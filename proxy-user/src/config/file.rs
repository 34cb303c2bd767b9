//! A configuration file: YAML, read strictly. A key that is not known is refused with its place
//! and the key that was probably meant; so is one that is written twice.

use schemars::{Schema, schema_for};

use super::raw::RawConfig;
use super::value::{OneLine, Position};

/// How alike two keys are, from 0 to 1, if one is probably the other misspelt.
const ALIKE: f64 = 0.75;

/// Why a text is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", OneLine(.message))]
pub struct ParseError {
    pub(super) message: String,
    /// Where the mistake is.
    pub position: Option<Position>,
}

/// Reads a file's text.
pub fn parse(text: &str) -> Result<RawConfig, ParseError> {
    if text.trim().is_empty() {
        let message = "the file is empty; write interfaces and rules".to_owned();
        return Err(ParseError { message, position: None });
    }
    serde_saphyr::from_str(text).map_err(ParseError::from)
}

impl From<serde_saphyr::Error> for ParseError {
    fn from(error: serde_saphyr::Error) -> Self {
        let position = error.location().filter(|location| location.line() > 0);
        let position =
            position.map(|location| Position { line: location.line(), column: location.column() });
        Self { message: describe(&error), position }
    }
}

/// The JSON Schema of a file.
pub fn schema() -> Schema {
    schema_for!(RawConfig)
}

/// What is wrong, in one line without its place.
fn describe(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            unknown(field, expected.iter().copied())
        }
        other => {
            let text = other.to_string();
            // The position is told separately.
            let line = text.lines().next().unwrap_or_default();
            let line = line.strip_prefix("error: ").unwrap_or(line);
            let line = match line.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
                Some((_, message)) => message,
                None => line,
            };
            line.split_once(" at line ").map_or(line, |(message, _)| message).to_owned()
        }
    }
}

fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let likeness = |known: &str| strsim::jaro_winkler(&known.to_lowercase(), &key.to_lowercase());
    let nearest = known.clone().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    if let Some(nearest) = nearest.filter(|nearest| likeness(nearest) >= ALIKE) {
        return format!("unknown key '{key}'; did you mean '{nearest}'?");
    }
    let known = known.collect::<Vec<_>>().join(", ");
    format!("unknown key '{key}'; there are {known} here")
}

#[cfg(test)]
mod tests;
