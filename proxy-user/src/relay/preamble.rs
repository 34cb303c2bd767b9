//! A connection's beginning: from the accept to the first bytes that its upstream will get.
//!
//! Nothing is sent to anybody here (pp01). The result is the outbound header with whatever payload
//! came behind the inbound one, in one piece, so that both leave in one segment; or a reason to
//! open no upstream at all.

use std::io;

use proxy_common::Reason;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::unique_id::UniqueIds;
use crate::address::{OriginalDst, PeerAddr};
use crate::config::settings::{Rule, ServerFirst};
use crate::header::{Beginning, Decoder, Header, Limits, Origin, Outgoing, Step, Tlvs, Versions};
use crate::policy::{self, Verdict};

/// A first read's room; most headers come with their payload in less.
const FIRST_READ: usize = 2048;

/// A connection that has just been accepted, and the rule that it falls under.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The rule of its port.
    pub rule: &'a Rule,
    /// Who connected.
    pub peer: PeerAddr,
    /// To what.
    pub destination: OriginalDst,
    /// Where its unique id comes from, if it is to have one.
    pub unique_ids: &'a UniqueIds,
}

/// What a connection began with.
#[derive(Debug, Default)]
pub struct Preamble {
    /// What the upstream gets first: our header, if any, and payload, if any.
    pub first: Vec<u8>,
    /// How much of `first` is payload.
    pub payload: usize,
    /// On whose behalf the upstream is opened; `None`: it is told nothing, and nobody is asked.
    pub origin: Option<Origin>,
    /// Our name for the connection, if the upstream is told one.
    pub unique_id: Option<String>,
    /// Whether the payload that is yet to come could be a second header, and must not be.
    pub gated: bool,
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

impl Arrival<'_> {
    /// Judges the connection and reads what has to be read of it.
    pub async fn preamble(self, client: &mut TcpStream) -> Result<Preamble, Declined> {
        match policy::judge(&self.rule.inbound, self.peer) {
            Verdict::Refuse(reason) => Err(reason.into()),
            Verdict::Unchanged => Ok(Preamble::default()),
            Verdict::Direct => self.compose(None, &[]),
            Verdict::ReadHeader { required } => {
                let deadline = Instant::now() + self.rule.inbound.timeout;
                if !required && self.server_speaks_first(client).await {
                    return self.compose(None, &[]);
                }
                in_time(deadline, self.read_header(client, required)).await
            }
            Verdict::DirectUnlessSpoofed => {
                let deadline = Instant::now() + self.rule.inbound.timeout;
                if self.server_speaks_first(client).await {
                    return self.compose(None, &[]);
                }
                in_time(deadline, self.read_unless_spoofed(client)).await
            }
        }
    }

    /// Whether the client has said nothing for so long that it must be waiting for the server.
    async fn server_speaks_first(self, client: &TcpStream) -> bool {
        match self.rule.inbound.server_first {
            ServerFirst::Wait => false,
            // Not `readable()`, which may be true of a socket that has nothing.
            ServerFirst::After(time) => timeout(time, client.peek(&mut [0])).await.is_err(),
        }
    }

    /// Reads until the bytes are a header or can be none.
    async fn read_header(
        self,
        client: &mut TcpStream,
        required: bool,
    ) -> Result<Preamble, Declined> {
        let mut decoder = Decoder::new(self.rule.inbound.limits);
        let mut buffer = Vec::with_capacity(FIRST_READ);
        loop {
            let ended = read_some(client, &mut buffer).await? == 0;
            match decoder.advance(&buffer) {
                Step::Complete { header, consumed } => {
                    let payload = &buffer[consumed..];
                    if ended || self.is_no_second_header(payload)? {
                        return self.compose(Some(&header), payload);
                    }
                }
                Step::NotAHeader if required => return Err(Reason::NoHeader.into()),
                Step::NotAHeader => return self.compose(None, &buffer),
                Step::Invalid(invalid) => return Err(invalid.reason.into()),
                Step::NeedMore if !ended => {}
                Step::NeedMore if buffer.is_empty() => return Err(Declined::HealthCheck),
                // It ended before its bytes were those of a header: they are payload.
                Step::NeedMore if !required && Beginning::of(&buffer) == Beginning::Open => {
                    return self.compose(None, &buffer);
                }
                Step::NeedMore => return Err(Reason::HeaderCutShort.into()),
            }
        }
    }

    /// Whether the payload behind a header can be released. Without a byte of it, the gate will
    /// look at the first ones.
    fn is_no_second_header(self, payload: &[u8]) -> Result<bool, Reason> {
        if !self.rule.inbound.reject_second {
            return Ok(true);
        }
        match Beginning::of(payload) {
            Beginning::Header(_) => Err(Reason::SecondHeader),
            Beginning::Other => Ok(true),
            Beginning::Open => Ok(payload.is_empty()),
        }
    }

    /// Reads until the bytes can be no valid header: all of them are payload.
    async fn read_unless_spoofed(self, client: &mut TcpStream) -> Result<Preamble, Declined> {
        // Whatever the rule allows to trusted sources, this one must not pass for another.
        let limits = Limits { versions: Versions::ALL, ..self.rule.inbound.limits };
        let mut decoder = Decoder::new(limits);
        let mut buffer = Vec::with_capacity(FIRST_READ);
        loop {
            let ended = read_some(client, &mut buffer).await? == 0;
            match decoder.advance(&buffer) {
                Step::Complete { .. } => return Err(Reason::SpoofedHeader.into()),
                // Too long for us may be well-formed for the upstream.
                Step::Invalid(invalid) if invalid.reason == Reason::HeaderTooLong => {
                    return Err(Reason::SpoofedHeader.into());
                }
                Step::NeedMore if !ended => {}
                Step::NeedMore if buffer.is_empty() => return Err(Declined::HealthCheck),
                // What has ended can no longer become a header.
                Step::NotAHeader | Step::Invalid(_) | Step::NeedMore => {
                    return self.compose(None, &buffer);
                }
            }
        }
    }

    /// Puts the outbound header, where the rule wants one, before the payload.
    fn compose(self, header: Option<&Header<'_>>, payload: &[u8]) -> Result<Preamble, Declined> {
        let outbound = &self.rule.outbound;
        let stated = header.map(|header| header.origin);
        let origin = policy::announce(stated, self.peer, self.destination);
        let unique_id = outbound.unique_id.then(|| self.unique_ids.next());
        let mut first = Vec::with_capacity(FIRST_READ);
        if let Some(version) = outbound.version {
            let outgoing = Outgoing {
                version,
                origin,
                tlvs: header.map_or_else(Tlvs::default, |header| header.tlvs),
                policy: &outbound.tlvs,
                unique_id: unique_id.as_ref().map(String::as_bytes),
            };
            outgoing.append_to(&mut first).map_err(|error| {
                tracing::debug!(%error, peer = %self.peer, "no outbound header");
                Reason::HeaderTooLong
            })?;
        }
        first.extend_from_slice(payload);
        let gated = self.rule.inbound.reject_second && header.is_some() && payload.is_empty();
        Ok(Preamble { first, payload: payload.len(), origin: Some(origin), unique_id, gated })
    }
}

async fn in_time(
    deadline: Instant,
    reading: impl Future<Output = Result<Preamble, Declined>>,
) -> Result<Preamble, Declined> {
    timeout_at(deadline, reading).await.unwrap_or(Err(Reason::HeaderTimeout.into()))
}

/// Appends what is there to the buffer; 0 is the end of data. The decoder decides before a header
/// is longer than its limit, so the buffer stays below that and one read more.
async fn read_some(client: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize, Declined> {
    match client.read_buf(buffer).await {
        Ok(read) => Ok(read),
        // Some health checks end in a reset, to spare themselves the close.
        Err(_) if buffer.is_empty() => Err(Declined::HealthCheck),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Err(Reason::ClientReset.into())
        }
        Err(error) => {
            tracing::debug!(%error, "cannot read a connection's beginning");
            Err(Reason::Internal.into())
        }
    }
}
