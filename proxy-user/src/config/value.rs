//! A value as it was written, with its position in the file, so that a refusal can point at it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_saphyr::{Location, Spanned};

/// A position in a file. Lines and columns count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The character within the line.
    pub column: u64,
}

/// A file's name, followed by the position if there is one.
pub fn place(file: impl fmt::Display, position: Option<Position>) -> String {
    match position {
        Some(Position { line, column }) => format!("{file}:{line}:{column}"),
        None => file.to_string(),
    }
}

/// Text from outside, as part of a message: it stays on one line, and control characters are escaped.
#[derive(Clone, Copy, Debug)]
pub struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            _ if c.is_control() => write!(f, "{}", c.escape_debug()),
            _ => f.write_char(c),
        })
    }
}

/// A value's text, not validated yet. Numbers are kept as text, too.
#[derive(Clone, Debug)]
pub struct RawValue {
    text: String,
    /// `None`: it is from a command line, or a default.
    position: Option<Position>,
}

impl RawValue {
    /// A text that stands there.
    pub(super) fn at(text: String, location: Location) -> Self {
        let position = Position { line: location.line(), column: location.column() };
        Self { text, position: Some(position) }
    }

    /// Where it stands in the file.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Another text at the same position.
    #[must_use]
    pub fn with_text(&self, text: String) -> Self {
        Self { text, position: self.position }
    }
}

impl Deref for RawValue {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl<T: Into<String>> From<T> for RawValue {
    fn from(text: T) -> Self {
        Self { text: text.into(), position: None }
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self::at(value, referenced))
    }
}

impl Serialize for RawValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl JsonSchema for RawValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"] })
    }
}
