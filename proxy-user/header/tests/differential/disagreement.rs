//! Two different answers to the same bytes.

use std::fmt;

use proxy_common::Reason;

use crate::answer::{Answer, Library, ask_foreword};

/// A disagreement of one library with Foreword.
pub struct Disagreement {
    pub library: Library,
    pub bytes: Vec<u8>,
    pub effect: Effect,
    /// Why Foreword refuses the bytes, if it does and they begin a header.
    pub reason: Option<Reason>,
}

/// What a library does, seen from Foreword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It accepts what we refuse.
    Accepts,
    /// It waits for more of what we refuse.
    WaitsForNothing,
    /// It refuses what we accept.
    Refuses,
    /// It waits for more of what we accept.
    WaitsAtTheEnd,
    /// It refuses where we wait for more.
    RefusesEarly,
    /// It accepts where we wait for more.
    AcceptsEarly,
    /// It finds another length.
    OtherLength,
    /// It finds other addresses, or another command.
    OtherOrigin,
    /// It finds other TLVs.
    OtherTlvs,
}

impl Effect {
    fn of(ours: &Answer, theirs: &Answer) -> Option<Self> {
        use Answer::{Accepts, Refuses, Waits};
        Some(match (ours, theirs) {
            (Refuses, Accepts(_)) => Self::Accepts,
            (Refuses, Waits) => Self::WaitsForNothing,
            (Accepts(_), Refuses) => Self::Refuses,
            (Accepts(_), Waits) => Self::WaitsAtTheEnd,
            (Waits, Refuses) => Self::RefusesEarly,
            (Waits, Accepts(_)) => Self::AcceptsEarly,
            (Accepts(ours), Accepts(theirs)) if ours.length != theirs.length => Self::OtherLength,
            (Accepts(ours), Accepts(theirs)) if ours.origin != theirs.origin => Self::OtherOrigin,
            (Accepts(ours), Accepts(theirs)) if ours.tlvs != theirs.tlvs => Self::OtherTlvs,
            (Accepts(_), Accepts(_)) | (Refuses, Refuses) | (Waits, Waits) => return None,
        })
    }

    /// What the library does and what we do, for a table.
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Accepts => ("accepts", "refuses"),
            Self::WaitsForNothing => ("waits for more", "refuses"),
            Self::Refuses => ("refuses", "accepts"),
            Self::WaitsAtTheEnd => ("waits for more", "accepts"),
            Self::RefusesEarly => ("refuses", "waits for more"),
            Self::AcceptsEarly => ("accepts", "waits for more"),
            Self::OtherLength => ("accepts", "accepts, with another length"),
            Self::OtherOrigin => ("accepts", "accepts, with another meaning"),
            Self::OtherTlvs => ("accepts", "accepts, with other TLVs"),
        }
    }
}

impl Disagreement {
    /// Asks both; `None` if they agree.
    pub fn about(library: Library, bytes: &[u8]) -> Option<Self> {
        let (ours, reason) = ask_foreword(bytes);
        let effect = Effect::of(&ours, &library.ask(bytes))?;
        Some(Self { library, bytes: bytes.to_vec(), effect, reason })
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (theirs, ours) = self.effect.words();
        write!(f, "{} {theirs}, Foreword {ours}", self.library)?;
        if let Some(reason) = self.reason {
            write!(f, " ({reason})")?;
        }
        write!(f, ": {}", self.bytes.escape_ascii())
    }
}
