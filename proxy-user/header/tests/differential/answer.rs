//! What Foreword and two other decoders say to the same bytes, in the same words.

use std::fmt;
use std::net::SocketAddr;

use ppp::PartialResult as _;
use proxy_common::Reason;
use proxy_header::{Decoder, Endpoints, Limits, Origin, Step};
use proxy_protocol_rs as ppr;

/// A decoder that ours is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Library {
    /// The crate `ppp`.
    Ppp,
    /// The crate `proxy-protocol-rs`.
    ProxyProtocolRs,
}

impl Library {
    pub const ALL: [Self; 2] = [Self::Ppp, Self::ProxyProtocolRs];

    /// What it says to these bytes, as the first ones of a connection.
    pub fn ask(self, bytes: &[u8]) -> Answer {
        match self {
            Self::Ppp => ask_ppp(bytes),
            Self::ProxyProtocolRs => ask_proxy_protocol_rs(bytes),
        }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ppp => "`ppp`",
            Self::ProxyProtocolRs => "`proxy-protocol-rs`",
        })
    }
}

/// What a decoder says to the bytes so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// They begin with a valid header.
    Accepts(Meaning),
    /// They may become one.
    Waits,
    /// They never will.
    Refuses,
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Bytes before the payload.
    pub length: usize,
    pub origin: Origin,
    /// Types and values.
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

/// Foreword's answer, and its reason to refuse; there is none for bytes that begin no header.
pub fn ask_foreword(bytes: &[u8]) -> (Answer, Option<Reason>) {
    // The others know no maximum.
    let limits = Limits { max_header: Limits::HIGHEST_MAX, ..Limits::default() };
    match Decoder::new(limits).advance(bytes) {
        Step::Complete { header, consumed } => {
            let tlvs = header.tlvs.iter().map(|tlv| (tlv.kind, tlv.value.to_vec())).collect();
            (Answer::Accepts(Meaning { length: consumed, origin: header.origin, tlvs }), None)
        }
        Step::NeedMore => (Answer::Waits, None),
        Step::NotAHeader => (Answer::Refuses, None),
        Step::Invalid(invalid) => (Answer::Refuses, Some(invalid.reason)),
    }
}

fn ask_ppp(bytes: &[u8]) -> Answer {
    let result = ppp::HeaderResult::parse(bytes);
    if result.is_incomplete() {
        return Answer::Waits;
    }
    match result {
        ppp::HeaderResult::V1(Ok(header)) => {
            let origin = match header.addresses {
                ppp::v1::Addresses::Unknown => Origin::Unknown,
                ppp::v1::Addresses::Tcp4(ip) => proxied(
                    (ip.source_address, ip.source_port),
                    (ip.destination_address, ip.destination_port),
                ),
                ppp::v1::Addresses::Tcp6(ip) => proxied(
                    (ip.source_address, ip.source_port),
                    (ip.destination_address, ip.destination_port),
                ),
            };
            Answer::Accepts(Meaning { length: header.header.len(), origin, tlvs: Vec::new() })
        }
        ppp::HeaderResult::V2(Ok(header)) => Answer::Accepts(Meaning {
            length: header.len(),
            origin: ppp_v2_origin(&header),
            // It leaves out the broken ones, as its callers may.
            tlvs: header
                .tlvs()
                .map_while(Result::ok)
                .map(|tlv| (tlv.kind, tlv.value.into_owned()))
                .collect(),
        }),
        ppp::HeaderResult::V1(Err(_)) | ppp::HeaderResult::V2(Err(_)) => Answer::Refuses,
    }
}

/// It names the transport beside the addresses; a caller for TCP takes those of a stream.
fn ppp_v2_origin(header: &ppp::v2::Header<'_>) -> Origin {
    use ppp::v2::{Addresses, Command, Protocol};
    match (header.command, header.protocol, header.addresses) {
        (Command::Local, ..) => Origin::Local,
        (Command::Proxy, Protocol::Stream, Addresses::IPv4(ip)) => proxied(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
        (Command::Proxy, Protocol::Stream, Addresses::IPv6(ip)) => proxied(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
        (Command::Proxy, ..) => Origin::Unknown,
    }
}

fn ask_proxy_protocol_rs(bytes: &[u8]) -> Answer {
    match ppr::parse(bytes) {
        Ok((info, length)) => {
            let origin = proxy_protocol_rs_origin(&info);
            Answer::Accepts(Meaning { length, origin, tlvs: info.tlvs.raw })
        }
        Err(ppr::ParseError::Incomplete) => Answer::Waits,
        Err(_) => Answer::Refuses,
    }
}

/// As with `ppp`, the addresses of a stream count.
fn proxy_protocol_rs_origin(info: &ppr::ProxyInfo) -> Origin {
    let stream = info.transport.map(|it| it.protocol) == Some(ppr::TransportProtocol::Stream);
    match (info.command, info.source_inet(), info.destination_inet()) {
        (ppr::Command::Local, ..) => Origin::Local,
        (_, Some(client), Some(destination)) if stream => proxied(client, destination),
        _ => Origin::Unknown,
    }
}

/// Endpoints in canonical form, so that two ways to write an IPv4 address are no disagreement.
fn proxied(client: impl Into<SocketAddr>, destination: impl Into<SocketAddr>) -> Origin {
    Origin::Proxied(Endpoints::new(client, destination))
}
