//! Builds what an upstream gets first: the outbound header, if the rule wants one, and whatever payload
//! came with the inbound header, in one piece, so that both leave in one segment. Pure: no socket is
//! known here.

use std::io;

use proxy_common::Reason;

use super::gate::Gate;
use super::pods::Pods;
use super::unique_id::UniqueIds;
use crate::address::{OriginalDst, PeerAddr};
use crate::config::settings::{LocalAs, Rule};
use crate::header::{Endpoints, Header, Origin, Outgoing, TlvPolicy, Tlvs, Version};
use crate::policy;

/// A connection and its rule, as far as headers depend on them.
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
    /// Where a unique id comes from, if the connection is to have one.
    pub unique_ids: &'a UniqueIds,
}

/// What an upstream gets first, and what is known about the connection by then.
#[derive(Debug, Default)]
pub struct Preamble {
    /// Our header, if any, and payload, if any.
    pub bytes: Vec<u8>,
    /// How many of the bytes are payload.
    pub payload: usize,
    /// On whose behalf the upstream is opened; `None`: the bytes are relayed unchanged.
    pub origin: Option<Origin>,
    /// The unique id that the header states.
    pub unique_id: Option<String>,
    /// Whether there was a header that we believe.
    pub has_header: bool,
    /// What the rest of the payload has to pass, if it must not begin with a header.
    pub gate: Option<Gate>,
    /// What to make the header from again, if it is to state this node as the client.
    node_header: Option<Box<NodeHeader>>,
}

/// The contents of a header that states this node as the client. Its address is not known before there
/// is a socket.
#[derive(Debug)]
struct NodeHeader {
    version: Version,
    /// The inbound TLVs.
    tlvs: Vec<u8>,
    policy: TlvPolicy,
    unique_id: Option<String>,
}

impl Preamble {
    /// For a connection with this inbound header, if any, and the payload that came with it.
    pub fn new(
        connection: ConnectionInfo<'_>,
        header: Option<&Header<'_>>,
        payload: &[u8],
    ) -> Result<Self, Reason> {
        /// Enough for a header without TLVs.
        const HEADER: usize = 128;
        let ConnectionInfo { rule, peer, destination, unique_ids, .. } = connection;
        let (inbound, outbound) = (&rule.inbound, &rule.outbound);
        let stated = header.map(|header| header.origin);
        let origin = policy::effective_origin(stated, peer, destination);
        let unique_id = outbound.unique_id.then(|| unique_ids.next());
        let tlvs = header.map_or_else(Tlvs::default, |header| header.tlvs);
        let mut bytes = Vec::with_capacity(HEADER + payload.len());
        if let Some(version) = outbound.version {
            let outgoing = Outgoing {
                version,
                origin: policy::written_origin(version, origin, peer, destination),
                tlvs,
                policy: &outbound.tlvs,
                unique_id: unique_id.as_ref().map(String::as_bytes),
            };
            outgoing.append_to(&mut bytes).map_err(|error| {
                tracing::debug!(%error, %peer, "no outbound header");
                Reason::HeaderTooLong
            })?;
        }
        bytes.extend_from_slice(payload);
        let states_node = (origin, outbound.local) == (Origin::Local, LocalAs::Proxy);
        let node_header = outbound.version.filter(|_| states_node).map(|version| {
            let (policy, unique_id) = (outbound.tlvs.clone(), unique_id.clone());
            Box::new(NodeHeader { version, tlvs: tlvs.as_bytes().to_vec(), policy, unique_id })
        });
        let may_have_second = inbound.reject_second && header.is_some() && payload.is_empty();
        Ok(Self {
            bytes,
            payload: payload.len(),
            origin: Some(origin),
            unique_id,
            has_header: header.is_some(),
            gate: may_have_second.then(|| Gate::against(Reason::SecondHeader)),
            node_header,
        })
    }

    /// The header's length in bytes; 0 if there is none.
    pub const fn header_length(&self) -> usize {
        self.bytes.len() - self.payload
    }

    /// Whether [`Preamble::state_node`] has to complete the header.
    pub const fn states_node(&self) -> bool {
        self.node_header.is_some()
    }

    /// Makes the header state the connection from this node's address to the upstream.
    pub fn state_node(&mut self, endpoints: Endpoints) -> io::Result<()> {
        let Some(header) = &self.node_header else { return Ok(()) };
        let outgoing = Outgoing {
            version: header.version,
            origin: Origin::Proxied(endpoints),
            tlvs: Tlvs::parse(&header.tlvs).unwrap_or_default(),
            policy: &header.policy,
            unique_id: header.unique_id.as_ref().map(String::as_bytes),
        };
        let payload = self.bytes.split_off(self.header_length());
        self.bytes.clear();
        let written = outgoing.append_to(&mut self.bytes).map_err(io::Error::other);
        self.bytes.extend_from_slice(&payload);
        written
    }
}
