//! A connection that is open, as it is at one moment: for people to look at.

use std::time::Duration;

use crate::address::{ClientAddr, OriginalDst, PeerAddr, UpstreamAddr};

/// A connection that is open.
#[derive(Clone, Debug)]
pub struct OpenConnection {
    /// Its rule's name.
    pub rule: String,
    /// Who connected.
    pub peer: PeerAddr,
    /// The client that the upstream is told about; `None`: it is not known yet, or there is none.
    pub client: Option<ClientAddr>,
    /// To what.
    pub destination: OriginalDst,
    /// The upstream's address.
    pub upstream: Option<UpstreamAddr>,
    /// Payload bytes from the client and to it.
    pub bytes: (u64, u64),
    /// The time since it was accepted.
    pub age: Duration,
    /// The stage that it is in.
    pub stage: Stage,
}

/// A stage in a connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its first bytes are awaited.
    ReadingHeader,
    /// Its upstream is being connected to.
    Connecting,
    /// Bytes go both ways.
    Relaying,
}

impl Stage {
    /// The word for it in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadingHeader => "opening",
            Self::Connecting => "connecting",
            Self::Relaying => "relaying",
        }
    }
}
