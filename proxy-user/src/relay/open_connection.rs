//! A connection that is open, as it stands at one moment: for people to look at.

use std::time::Duration;

use crate::address::{ClientAddr, OriginalDst, PeerAddr, UpstreamAddr};

/// A connection that is open.
#[derive(Clone, Debug)]
pub struct OpenConnection {
    /// Its rule's name.
    pub rule: String,
    /// Who connected.
    pub peer: PeerAddr,
    /// Who the upstream is told has connected; `None`: that is not known yet, or nobody.
    pub client: Option<ClientAddr>,
    /// To what.
    pub destination: OriginalDst,
    /// Where it goes.
    pub upstream: Option<UpstreamAddr>,
    /// Payload bytes from the client and to it.
    pub bytes: (u64, u64),
    /// Since it was accepted.
    pub age: Duration,
    /// How far it is.
    pub stage: Stage,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its first bytes are waited for.
    Opening,
    /// Its upstream is.
    Connecting,
    /// Bytes go both ways.
    Relaying,
}

impl Stage {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Connecting => "connecting",
            Self::Relaying => "relaying",
        }
    }
}
