//! A connection's beginning: from the accept to the first bytes that its upstream will get.
//!
//! Nothing is sent to anybody here (pp01). The result is the outbound header with whatever payload
//! came behind the inbound one, in one piece, so that both leave in one segment; or a reason to
//! open no upstream at all.

use std::io;

use proxy_common::Reason;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::address::{OriginalDst, PeerAddr};
use crate::config::settings::{Inbound, Rule};
use crate::header::{Decoder, Origin, Outgoing, Step};
use crate::policy::{self, Verdict};

/// A first read's room; most headers come with their payload in less.
const FIRST_READ: usize = 2048;

/// What a connection began with.
#[derive(Debug)]
pub struct Preamble {
    /// What the upstream gets first: our header, if any, and payload, if any.
    pub first: Vec<u8>,
    /// How much of `first` is payload.
    pub payload: usize,
    /// On whose behalf the upstream is opened; `None`: it is told nothing, and nobody is asked.
    pub origin: Option<Origin>,
}

/// Why no upstream is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// The connection is refused.
    Refused(Reason),
    /// A load balancer only looked whether we are there: opened, closed, not a byte between.
    HealthCheck,
}

impl From<Reason> for Declined {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

/// Judges a connection and reads what has to be read of it.
pub async fn read(
    client: &mut TcpStream,
    rule: &Rule,
    peer: PeerAddr,
    destination: OriginalDst,
) -> Result<Preamble, Declined> {
    match policy::judge(&rule.inbound, peer) {
        Verdict::Refuse(reason) => Err(reason.into()),
        Verdict::Unchanged => Ok(Preamble { first: Vec::new(), payload: 0, origin: None }),
        Verdict::Direct => compose(rule, policy::announce(None, peer, destination), &[]),
        Verdict::ReadHeader { required } => {
            let (origin, buffer, consumed) = read_header(client, &rule.inbound).await?;
            if required && origin.is_none() {
                return Err(Reason::NoHeader.into());
            }
            let origin = policy::announce(origin, peer, destination);
            compose(rule, origin, &buffer[consumed..])
        }
        Verdict::DirectUnlessSpoofed => {
            let payload = read_unless_spoofed(client, &rule.inbound).await?;
            compose(rule, policy::announce(None, peer, destination), &payload)
        }
    }
}

/// Puts the outbound header, where the rule wants one, before the payload.
fn compose(rule: &Rule, origin: Origin, payload: &[u8]) -> Result<Preamble, Declined> {
    let mut first = Vec::with_capacity(FIRST_READ);
    if let Some(version) = rule.outbound {
        Outgoing::plain(version, origin).append_to(&mut first).map_err(|_| Reason::Internal)?;
    }
    first.extend_from_slice(payload);
    Ok(Preamble { first, payload: payload.len(), origin: Some(origin) })
}

/// Reads until the bytes are a header or can be none, and returns what the header says, the bytes
/// and how many of them are the header's.
async fn read_header(
    client: &mut TcpStream,
    inbound: &Inbound,
) -> Result<(Option<Origin>, Vec<u8>, usize), Declined> {
    let mut decoder = Decoder::new(inbound.limits);
    let mut buffer = Vec::with_capacity(FIRST_READ);
    let reading = async {
        loop {
            let ended = read_some(client, &mut buffer).await? == 0;
            match decoder.advance(&buffer) {
                Step::Complete { header, consumed } => {
                    return Ok((Some(header.origin), consumed));
                }
                Step::NotAHeader => return Ok((None, 0)),
                Step::Invalid(invalid) => return Err(invalid.reason.into()),
                Step::NeedMore if ended && buffer.is_empty() => return Err(Declined::HealthCheck),
                Step::NeedMore if ended => return Err(Reason::HeaderCutShort.into()),
                Step::NeedMore => {}
            }
        }
    };
    let (origin, consumed) =
        timeout(inbound.timeout, reading).await.unwrap_or(Err(Reason::HeaderTimeout.into()))?;
    Ok((origin, buffer, consumed))
}

/// Reads until the bytes can be no valid header, and returns them: all of them are payload.
async fn read_unless_spoofed(
    client: &mut TcpStream,
    inbound: &Inbound,
) -> Result<Vec<u8>, Declined> {
    let mut decoder = Decoder::new(inbound.limits);
    let mut buffer = Vec::with_capacity(FIRST_READ);
    let reading = async {
        loop {
            let ended = read_some(client, &mut buffer).await? == 0;
            match decoder.advance(&buffer) {
                Step::Complete { .. } => return Err(Reason::SpoofedHeader.into()),
                Step::NotAHeader | Step::Invalid(_) => return Ok(()),
                Step::NeedMore if ended && buffer.is_empty() => return Err(Declined::HealthCheck),
                // What has ended can no longer become a header.
                Step::NeedMore if ended => return Ok(()),
                Step::NeedMore => {}
            }
        }
    };
    timeout(inbound.timeout, reading).await.unwrap_or(Err(Reason::HeaderTimeout.into()))?;
    Ok(buffer)
}

/// Appends what is there to the buffer; 0 is the end of data. The decoder decides before a header
/// is longer than its limit, so the buffer stays below that and one read more.
async fn read_some(client: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize, Declined> {
    match client.read_buf(buffer).await {
        Ok(read) => Ok(read),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Err(Reason::ClientReset.into())
        }
        Err(error) => {
            tracing::debug!(%error, "cannot read a connection's beginning");
            Err(Reason::Internal.into())
        }
    }
}
