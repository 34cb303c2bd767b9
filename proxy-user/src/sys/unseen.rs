//! What could not be looked at.

use std::fmt;
use std::io;

/// Why something could not be seen. It says nothing about whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    why: String,
}

impl Unseen {
    /// For this reason, in words.
    pub fn because(why: impl fmt::Display) -> Self {
        Self { why: why.to_string() }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl From<io::Error> for Unseen {
    fn from(error: io::Error) -> Self {
        Self::because(error)
    }
}

/// Something that was looked at, or the reason why not.
pub type Seen<T> = Result<T, Unseen>;
