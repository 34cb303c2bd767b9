//! Facts about the node that may turn out to be unknown.

use std::fmt;
use std::io;

/// Why something could not be found out. It doesn't say whether the thing exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    reason: String,
}

impl Unknown {
    /// Unknown for this reason.
    pub fn because(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string() }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl From<io::Error> for Unknown {
    fn from(error: io::Error) -> Self {
        Self::because(error)
    }
}

/// Something that was found out, or the reason why it wasn't.
pub type Fact<T> = Result<T, Unknown>;
