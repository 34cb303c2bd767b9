//! A connection's beginning: from the accept to the first bytes that its upstream will get.
//!
//! Nothing is sent to anybody here (pp01), and no socket is known: bytes come in as they are read,
//! in any split. The result is the outbound header with whatever payload came behind the inbound
//! one, in one piece, so that both leave in one segment; or a reason to open no upstream at all.

use std::io;
use std::mem;
use std::time::Duration;

use proxy_common::Reason;

use super::gate::Gate;
use super::pods::Pods;
use super::unique_id::UniqueIds;
use crate::address::{OriginalDst, PeerAddr};
use crate::config::settings::{LocalAs, Rule, ServerFirst};
use crate::header::{
    Decoder, Endpoints, Header, Limits, Origin, Outgoing, SignatureMatch, Step, TlvPolicy, Tlvs,
    Version,
};
use crate::policy::{self, Action};

/// What a connection and its rule say about each other.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionInfo<'a> {
    /// The rule of its port.
    pub rule: &'a Rule,
    /// Who connected.
    pub peer: PeerAddr,
    /// To what.
    pub destination: OriginalDst,
    /// Knows the connections of the node's own pods.
    pub pods: &'a Pods,
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
    /// Whether there was a header that we believe.
    pub has_header: bool,
    /// What the payload that is yet to come has to pass, if it must not begin with a header.
    pub gate: Option<Gate>,
    /// What the header is made of, if it is to state this node's own connection.
    own: Option<Box<OwnHeader>>,
}

/// What goes into a header that states this node as the client: which of its addresses that is, is
/// known when there is a socket.
#[derive(Debug)]
struct OwnHeader {
    version: Version,
    /// The inbound TLVs.
    tlvs: Vec<u8>,
    policy: TlvPolicy,
    unique_id: Option<String>,
}

impl Preamble {
    /// Length of the header in bytes; 0 if there is none.
    pub const fn header_length(&self) -> usize {
        self.first.len() - self.payload
    }

    /// Whether the header has to be completed by [`Preamble::state_node`].
    pub const fn states_node(&self) -> bool {
        self.own.is_some()
    }

    /// Has the header state the connection from this node's address to the upstream.
    pub fn state_node(&mut self, ends: Endpoints) -> io::Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        let outgoing = Outgoing {
            version: own.version,
            origin: Origin::Proxied(ends),
            tlvs: Tlvs::parse(&own.tlvs).unwrap_or_default(),
            policy: &own.policy,
            unique_id: own.unique_id.as_ref().map(String::as_bytes),
        };
        let payload = self.first.split_off(self.header_length());
        self.first.clear();
        let written = outgoing.append_to(&mut self.first).map_err(io::Error::other);
        self.first.extend_from_slice(&payload);
        written
    }
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

/// What to do with a connection that has just been accepted.
#[derive(Debug)]
pub enum NextStep {
    /// Its bytes have to be read first.
    Read(HeaderReader),
    /// It goes on to its upstream at once.
    Ready(Preamble),
}

/// What the bytes are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// A header to be believed.
    Header { required: bool },
    /// A header's signature, which must not be there.
    Spoof,
}

/// The bytes that have been read so far, and what is expected in them.
#[derive(Debug)]
pub struct HeaderReader {
    expected: Expected,
    decoder: Decoder,
    bytes: Vec<u8>,
}

impl ConnectionInfo<'_> {
    /// Judges the connection by its source.
    pub fn judge(self) -> Result<NextStep, Declined> {
        let limits = self.rule.inbound.limits;
        let is_pod = || self.pods.have_opened(self.peer, self.destination);
        match policy::decide(&self.rule.inbound, self.peer, is_pod) {
            Action::Refuse(reason) => Err(reason.into()),
            Action::Unchanged => Ok(NextStep::Ready(Preamble::default())),
            Action::Direct => Ok(NextStep::Ready(self.compose(None, &[])?)),
            Action::ReadHeader { required } => {
                Ok(NextStep::Read(HeaderReader::new(Expected::Header { required }, limits)))
            }
            Action::DirectUnlessSpoofed => {
                Ok(NextStep::Read(HeaderReader::new(Expected::Spoof, limits)))
            }
        }
    }

    /// Puts the outbound header, where the rule wants one, before the payload.
    fn compose(self, header: Option<&Header<'_>>, payload: &[u8]) -> Result<Preamble, Declined> {
        /// A header without its TLVs is shorter.
        const HEADER: usize = 128;
        let outbound = &self.rule.outbound;
        let stated = header.map(|header| header.origin);
        let origin = policy::effective_origin(stated, self.peer, self.destination);
        let unique_id = outbound.unique_id.then(|| self.unique_ids.next());
        let tlvs = header.map_or_else(Tlvs::default, |header| header.tlvs);
        let mut first = Vec::with_capacity(HEADER + payload.len());
        if let Some(version) = outbound.version {
            let outgoing = Outgoing {
                version,
                origin: policy::written_origin(version, origin, self.peer, self.destination),
                tlvs,
                policy: &outbound.tlvs,
                unique_id: unique_id.as_ref().map(String::as_bytes),
            };
            outgoing.append_to(&mut first).map_err(|error| {
                tracing::debug!(%error, peer = %self.peer, "no outbound header");
                Reason::HeaderTooLong
            })?;
        }
        first.extend_from_slice(payload);
        let states_node = (origin, outbound.local) == (Origin::Local, LocalAs::Proxy);
        let own = outbound.version.filter(|_| states_node).map(|version| {
            let (policy, unique_id) = (outbound.tlvs.clone(), unique_id.clone());
            Box::new(OwnHeader { version, tlvs: tlvs.as_bytes().to_vec(), policy, unique_id })
        });
        let second = self.rule.inbound.reject_second && header.is_some() && payload.is_empty();
        Ok(Preamble {
            first,
            payload: payload.len(),
            origin: Some(origin),
            unique_id,
            has_header: header.is_some(),
            gate: second.then(|| Gate::against(Reason::SecondHeader)),
            own,
        })
    }
}

impl HeaderReader {
    fn new(expected: Expected, limits: Limits) -> Self {
        Self { expected, decoder: Decoder::new(limits), bytes: Vec::new() }
    }

    /// What was read so far, unless all of it came at once.
    pub fn kept(&self) -> Option<&[u8]> {
        Some(self.bytes.as_slice()).filter(|bytes| !bytes.is_empty())
    }

    /// How long a silent client may be waited for before it is taken for one that waits for the
    /// server, in whose protocol that speaks first.
    pub fn server_first(&self, rule: &Rule) -> Option<Duration> {
        match rule.inbound.server_first {
            ServerFirst::After(time) if self.expected != (Expected::Header { required: true }) => {
                Some(time).filter(|_| self.bytes.is_empty())
            }
            _ => None,
        }
    }

    /// The client has been silent for so long. One that must not pass for another must not do so
    /// later, either.
    pub fn take_silence(&self, connection: ConnectionInfo<'_>) -> Result<Preamble, Declined> {
        let mut preamble = connection.compose(None, &[])?;
        if self.expected == Expected::Spoof {
            preamble.gate = Some(Gate::against(Reason::SpoofedHeader));
        }
        Ok(preamble)
    }

    /// Whether a trusted source has sent a header, as far as that was decided by its bytes.
    pub fn sent_header(&self, decided: &Result<Preamble, Declined>) -> Option<bool> {
        match (self.expected, decided) {
            (Expected::Header { .. }, Ok(preamble)) => Some(preamble.has_header),
            (Expected::Header { .. }, Err(Declined::Refused(Reason::NoHeader))) => Some(false),
            _ => None,
        }
    }

    /// Takes what was read; nothing is the end of data. `None`: more has to be read.
    ///
    /// The decoder decides before a header is longer than its limit, so what is kept stays below
    /// that and one read more.
    pub fn take(
        &mut self,
        read: &[u8],
        connection: ConnectionInfo<'_>,
    ) -> Option<Result<Preamble, Declined>> {
        if self.bytes.is_empty() {
            // Most headers come in one piece, which then needs not be kept.
            let decided = self.decide(read, read.is_empty(), connection);
            if decided.is_none() {
                self.bytes = read.to_vec();
            }
            return decided;
        }
        let mut bytes = mem::take(&mut self.bytes);
        bytes.extend_from_slice(read);
        let decided = self.decide(&bytes, read.is_empty(), connection);
        self.bytes = bytes;
        decided
    }

    fn decide(
        &mut self,
        bytes: &[u8],
        ended: bool,
        connection: ConnectionInfo<'_>,
    ) -> Option<Result<Preamble, Declined>> {
        match self.expected {
            Expected::Header { required } => self.header(bytes, ended, required, connection),
            Expected::Spoof => no_header(bytes, ended, connection),
        }
    }

    /// A read has failed.
    pub fn take_error(&self, error: &io::Error) -> Declined {
        match error.kind() {
            // Some health checks end in a reset, to spare themselves the close.
            _ if self.bytes.is_empty() => Declined::HealthCheck,
            io::ErrorKind::ConnectionReset => Reason::ClientReset.into(),
            _ => {
                tracing::debug!(%error, "cannot read a connection's beginning");
                Reason::Internal.into()
            }
        }
    }

    /// A header, or what can be none.
    fn header(
        &mut self,
        bytes: &[u8],
        ended: bool,
        required: bool,
        connection: ConnectionInfo<'_>,
    ) -> Option<Result<Preamble, Declined>> {
        match self.decoder.advance(bytes) {
            Step::Complete { header, consumed } => {
                let payload = &bytes[consumed..];
                match is_no_second_header(connection.rule, payload) {
                    Err(reason) if !ended => Some(Err(reason.into())),
                    Ok(false) if !ended => None,
                    _ => Some(connection.compose(Some(&header), payload)),
                }
            }
            Step::NotAHeader if required => Some(Err(Reason::NoHeader.into())),
            Step::NotAHeader => Some(connection.compose(None, bytes)),
            Step::Invalid(invalid) => Some(Err(invalid.reason.into())),
            Step::NeedMore if !ended => None,
            Step::NeedMore if bytes.is_empty() => Some(Err(Declined::HealthCheck)),
            // It ended before its bytes were those of a header: they are payload.
            Step::NeedMore if !required && SignatureMatch::of(bytes) == SignatureMatch::Partial => {
                Some(connection.compose(None, bytes))
            }
            Step::NeedMore => Some(Err(Reason::HeaderCutShort.into())),
        }
    }
}

/// Payload, unless it begins with a signature. What comes behind that is not looked at: a header
/// that we would refuse, for its version, its length or a mistake in it, is one that the upstream
/// may believe.
fn no_header(
    bytes: &[u8],
    ended: bool,
    connection: ConnectionInfo<'_>,
) -> Option<Result<Preamble, Declined>> {
    match SignatureMatch::of(bytes) {
        SignatureMatch::Complete(_) => Some(Err(Reason::SpoofedHeader.into())),
        SignatureMatch::Partial if !ended => None,
        SignatureMatch::Partial if bytes.is_empty() => Some(Err(Declined::HealthCheck)),
        // What has ended can no longer become a signature.
        SignatureMatch::Partial | SignatureMatch::Mismatch => Some(connection.compose(None, bytes)),
    }
}

/// Whether the payload behind a header can be released. Without a byte of it, the gate will look
/// at the first ones.
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
