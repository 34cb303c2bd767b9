//! Reads a connection's first bytes until they decide what its upstream gets. Pure: bytes come in as they
//! are read, in any split, and nothing is sent to anybody (pp01). The result is a [`Preamble`] or a reason
//! to open no upstream.

use std::io;
use std::mem;
use std::time::Duration;

use proxy_common::Reason;

use super::gate::Gate;
use super::outbound::{ConnectionInfo, Preamble};
use crate::config::settings::{Rule, ServerFirst};
use crate::header::{Decoder, Limits, SignatureMatch, Step};
use crate::policy::{self, Action};

/// Why no upstream is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// The connection is refused.
    Refused(Reason),
    /// A load balancer's health check: opened and closed without a byte.
    HealthCheck,
}

impl From<Reason> for Declined {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

/// What to do with a connection that has just been accepted.
#[derive(Debug)]
pub enum NextStep {
    /// Read its first bytes.
    ReadHeader(HeaderReader),
    /// Connect to its upstream at once.
    Connect(Preamble),
}

/// What the first bytes are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// A header, which is believed.
    Header { required: bool },
    /// Payload. A header's signature is an attempt to pass for another client.
    Payload,
}

/// The first bytes so far, and what they are read for.
#[derive(Debug)]
pub struct HeaderReader {
    expected: Expected,
    decoder: Decoder,
    bytes: Vec<u8>,
}

impl NextStep {
    /// Decides by the connection's source.
    pub fn of(connection: ConnectionInfo<'_>) -> Result<Self, Declined> {
        let inbound = &connection.rule.inbound;
        let is_pod = || connection.pods.have_opened(connection.peer, connection.destination);
        let read = |expected| Ok(Self::ReadHeader(HeaderReader::new(expected, inbound.limits)));
        match policy::decide(inbound, connection.peer, is_pod) {
            Action::Refuse(reason) => Err(reason.into()),
            Action::Unchanged => Ok(Self::Connect(Preamble::default())),
            Action::Direct => Ok(Self::Connect(Preamble::new(connection, None, &[])?)),
            Action::ReadHeader { required } => read(Expected::Header { required }),
            Action::DirectUnlessSpoofed => read(Expected::Payload),
        }
    }
}

impl HeaderReader {
    fn new(expected: Expected, limits: Limits) -> Self {
        Self { expected, decoder: Decoder::new(limits), bytes: Vec::new() }
    }

    /// The bytes that were read so far; `None` if the last read was the first.
    pub fn kept(&self) -> Option<&[u8]> {
        Some(self.bytes.as_slice()).filter(|bytes| !bytes.is_empty())
    }

    /// How long to wait for a silent client before taking it for one that waits for the server, in a
    /// protocol in which the server speaks first.
    pub fn server_first(&self, rule: &Rule) -> Option<Duration> {
        match rule.inbound.server_first {
            ServerFirst::After(time) if self.expected != (Expected::Header { required: true }) => {
                Some(time).filter(|_| self.bytes.is_empty())
            }
            _ => None,
        }
    }

    /// The client has been silent for that long. One that must not pass for another must not do so
    /// later, either.
    pub fn take_silence(&self, connection: ConnectionInfo<'_>) -> Result<Preamble, Declined> {
        let mut preamble = Preamble::new(connection, None, &[])?;
        if self.expected == Expected::Payload {
            preamble.gate = Some(Gate::against(Reason::SpoofedHeader));
        }
        Ok(preamble)
    }

    /// Whether a trusted source has sent a header, where the decision tells.
    pub fn sent_header(&self, decision: &Result<Preamble, Declined>) -> Option<bool> {
        match (self.expected, decision) {
            (Expected::Header { .. }, Ok(preamble)) => Some(preamble.has_header),
            (Expected::Header { .. }, Err(Declined::Refused(Reason::NoHeader))) => Some(false),
            _ => None,
        }
    }

    /// Takes what was read, where nothing means the end of data. `None`: more has to be read.
    ///
    /// The decoder decides before a header exceeds its limit, so never more is kept than that and one
    /// read.
    pub fn take(
        &mut self,
        read: &[u8],
        connection: ConnectionInfo<'_>,
    ) -> Option<Result<Preamble, Declined>> {
        if self.bytes.is_empty() {
            // Most headers come in one piece, and need not be kept.
            let decision = self.decide(read, read.is_empty(), connection);
            if decision.is_none() {
                self.bytes = read.to_vec();
            }
            return decision;
        }
        let mut bytes = mem::take(&mut self.bytes);
        bytes.extend_from_slice(read);
        let decision = self.decide(&bytes, read.is_empty(), connection);
        self.bytes = bytes;
        decision
    }

    fn decide(
        &mut self,
        bytes: &[u8],
        ended: bool,
        connection: ConnectionInfo<'_>,
    ) -> Option<Result<Preamble, Declined>> {
        match self.expected {
            Expected::Header { required } => self.decode(bytes, ended, required, connection),
            Expected::Payload => check_payload(bytes, ended, connection),
        }
    }

    /// A read has failed.
    pub fn take_error(&self, error: &io::Error) -> Declined {
        match error.kind() {
            // Some health checks end in a reset, which spares them the close.
            _ if self.bytes.is_empty() => Declined::HealthCheck,
            io::ErrorKind::ConnectionReset => Reason::ClientReset.into(),
            _ => {
                tracing::debug!(%error, "cannot read a connection's first bytes");
                Reason::Internal.into()
            }
        }
    }

    fn decode(
        &mut self,
        bytes: &[u8],
        ended: bool,
        required: bool,
        connection: ConnectionInfo<'_>,
    ) -> Option<Result<Preamble, Declined>> {
        let preamble = |header: Option<_>, payload| {
            Some(Preamble::new(connection, header.as_ref(), payload).map_err(Declined::from))
        };
        match self.decoder.advance(bytes) {
            Step::Complete { header, consumed } => {
                let payload = &bytes[consumed..];
                match is_no_second_header(connection.rule, payload) {
                    Err(reason) if !ended => Some(Err(reason.into())),
                    Ok(false) if !ended => None,
                    _ => preamble(Some(header), payload),
                }
            }
            Step::NotAHeader if required => Some(Err(Reason::NoHeader.into())),
            Step::NotAHeader => preamble(None, bytes),
            Step::Invalid(invalid) => Some(Err(invalid.reason.into())),
            Step::NeedMore if !ended => None,
            Step::NeedMore if bytes.is_empty() => Some(Err(Declined::HealthCheck)),
            // The data ended before it was known to be a header: it is payload.
            Step::NeedMore if !required && SignatureMatch::of(bytes) == SignatureMatch::Partial => {
                preamble(None, bytes)
            }
            Step::NeedMore => Some(Err(Reason::HeaderCutShort.into())),
        }
    }
}

/// Accepts payload, unless it begins with a signature. What follows the signature does not matter: a
/// header that we would refuse, because of its version, its length or a mistake in it, is one that the
/// upstream might believe.
fn check_payload(
    bytes: &[u8],
    ended: bool,
    connection: ConnectionInfo<'_>,
) -> Option<Result<Preamble, Declined>> {
    match SignatureMatch::of(bytes) {
        SignatureMatch::Complete(_) => Some(Err(Reason::SpoofedHeader.into())),
        SignatureMatch::Partial if !ended => None,
        SignatureMatch::Partial if bytes.is_empty() => Some(Err(Declined::HealthCheck)),
        // What has ended can no longer become a signature.
        SignatureMatch::Partial | SignatureMatch::Mismatch => {
            Some(Preamble::new(connection, None, bytes).map_err(Declined::from))
        }
    }
}

/// Whether the payload behind a header may be passed on. If there is none yet, a [`Gate`] looks at its
/// first bytes later.
fn is_no_second_header(rule: &Rule, payload: &[u8]) -> Result<bool, Reason> {
    if !rule.inbound.reject_second {
        return Ok(true);
    }
    match SignatureMatch::of(payload) {
        SignatureMatch::Complete(_) => Err(Reason::SecondHeader),
        SignatureMatch::Mismatch => Ok(true),
        SignatureMatch::Partial => Ok(payload.is_empty()),
    }
}
