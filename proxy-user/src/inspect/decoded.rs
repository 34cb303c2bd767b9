//! Bytes explained: a header part by part, or why they are not one.
//!
//! A [`Decoded`] is read by people ([`Display`](std::fmt::Display)) and by programs (serde). It
//! holds no byte of the input as it was: texts are escaped, values are in hex.

mod text;

use serde::Serialize;

use super::dump::Dump;
use crate::header::awaited::Awaited;
use crate::header::tlv::describe::{kind_name, meaning, ssl_kind_name, ssl_meaning};
use crate::header::tlv::{Ssl, kind};
use crate::header::{Decoder, Header, Invalid, Limits, Origin, SignatureMatch, Step, Tlv, Version};

/// Bytes of payload that are shown.
const PREVIEW: usize = 32;

/// Bytes to look at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// A connection's first bytes.
    pub bytes: &'a [u8],
    /// Whether there were more, which have not been read.
    pub more: bool,
}

/// What the bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Decoded {
    /// A valid header.
    Valid(DecodedHeader),
    /// A header by its first bytes, and not a valid one.
    Invalid(InvalidHeader),
    /// The beginning of a header.
    Incomplete(IncompleteHeader),
    /// No header.
    NotAHeader(NotAHeader),
}

/// A valid header's parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DecodedHeader {
    /// `v1` or `v2`.
    pub version: String,
    /// `PROXY` or `LOCAL`.
    pub command: &'static str,
    /// As the header names it.
    pub transport: &'static str,
    /// Where the connection began; none if the real endpoints are to be used.
    pub client: Option<String>,
    /// What the client aimed at; none if the real endpoints are to be used.
    pub destination: Option<String>,
    /// Bytes of the header.
    pub length: usize,
    /// The TLVs in their order.
    pub tlvs: Vec<DecodedTlv>,
    /// Bytes of a v2 header's variable part that a receiver skips: neither used addresses nor TLVs.
    pub skipped: usize,
    /// Whether there is a CRC32C, which is then right.
    pub checksum: Checksum,
    /// What follows.
    pub payload: Payload,
}

/// Whether a header has a checksum. A wrong one makes the header invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// It is the header's own.
    Verified,
    /// There is none.
    Absent,
}

/// One TLV.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DecodedTlv {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// The type's name.
    pub name: &'static str,
    /// Bytes of its value.
    pub length: usize,
    /// Its value in words; empty where there is nothing to say.
    pub meaning: String,
    /// Its value in hex.
    pub value: String,
    /// The TLVs inside; only SSL has such.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<DecodedTlv>,
}

/// What follows a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// Bytes.
    pub length: usize,
    /// Whether there were more, which have not been read.
    pub more: bool,
    /// The first bytes, escaped.
    pub preview: String,
    /// What they have of a header themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_header: Option<String>,
}

/// A header with something wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvalidHeader {
    /// The word for it in metrics and logs.
    pub reason: &'static str,
    /// The rule's number, such as `pp13`, where the protocol has a rule.
    pub rule: Option<String>,
    /// Where: bytes from the header's start.
    pub offset: usize,
    /// What would have been right there.
    pub expected: &'static str,
    /// Some lines of hex with the place marked.
    pub dump: String,
}

/// The beginning of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IncompleteHeader {
    /// Bytes that are there.
    pub length: usize,
    /// What they are waiting for.
    pub awaited: String,
}

/// Bytes that fit no header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotAHeader {
    /// The first byte that fits neither version's signature.
    pub offset: usize,
    /// All bytes are this.
    pub payload: Payload,
}

impl Decoded {
    /// Looks at the bytes as a receiver with these limits would.
    pub fn of(input: Input<'_>, limits: Limits) -> Self {
        let bytes = input.bytes;
        match Decoder::new(limits).advance(bytes) {
            Step::Complete { header, consumed } => {
                let payload = Payload::of(Input { bytes: &bytes[consumed..], ..input }, limits);
                Self::Valid(DecodedHeader::of(&header, consumed, payload))
            }
            Step::Invalid(invalid) => Self::Invalid(InvalidHeader::of(invalid, bytes)),
            Step::NeedMore => Self::Incomplete(IncompleteHeader {
                length: bytes.len(),
                awaited: Awaited::by(bytes, limits).to_string(),
            }),
            Step::NotAHeader => Self::NotAHeader(NotAHeader {
                offset: first_unfit(bytes),
                payload: Payload::of(input, limits),
            }),
        }
    }

    /// Whether the bytes begin with a valid header.
    pub const fn is_valid(&self) -> bool {
        matches!(self, Self::Valid(_))
    }
}

impl DecodedHeader {
    fn of(header: &Header<'_>, length: usize, payload: Payload) -> Self {
        let endpoints = match header.origin {
            Origin::Proxied(endpoints) => Some(endpoints),
            Origin::Local | Origin::Unknown => None,
        };
        let skipped = match (header.version, endpoints) {
            (Version::V2, None) => length - Limits::LOWEST_MAX - header.tlvs.as_bytes().len(),
            _ => 0,
        };
        let checksum = match header.tlvs.find(kind::CRC32C) {
            Some(_) => Checksum::Verified,
            None => Checksum::Absent,
        };
        Self {
            version: header.version.to_string(),
            command: if header.origin == Origin::Local { "LOCAL" } else { "PROXY" },
            transport: header.transport,
            client: endpoints.map(|endpoints| endpoints.client.to_string()),
            destination: endpoints.map(|endpoints| endpoints.destination.to_string()),
            length,
            tlvs: header.tlvs.iter().map(DecodedTlv::of).collect(),
            skipped,
            checksum,
            payload,
        }
    }
}

impl DecodedTlv {
    fn of(tlv: Tlv<'_>) -> Self {
        let inside = if tlv.kind == kind::SSL { Ssl::parse(tlv.value) } else { None };
        let fields = inside.into_iter().flat_map(|ssl| ssl.fields);
        Self {
            fields: fields.map(Self::inside_ssl).collect(),
            ..Self::flat(tlv, kind_name(tlv.kind), meaning(tlv).to_string())
        }
    }

    fn inside_ssl(tlv: Tlv<'_>) -> Self {
        Self::flat(tlv, ssl_kind_name(tlv.kind), ssl_meaning(tlv).to_string())
    }

    fn flat(Tlv { kind, value }: Tlv<'_>, name: &'static str, meaning: String) -> Self {
        let value_in_hex =
            value.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let length = value.len();
        Self { kind, name, length, meaning, value: value_in_hex, fields: Vec::new() }
    }
}

impl Payload {
    fn of(input: Input<'_>, limits: Limits) -> Self {
        let Input { bytes, more } = input;
        let preview = bytes[..bytes.len().min(PREVIEW)].escape_ascii().to_string();
        let second_header = second_header(bytes, limits);
        Self { length: bytes.len(), more, preview, second_header }
    }
}

/// What the bytes behind a header have of another one, which no receiver reads as such.
fn second_header(bytes: &[u8], limits: Limits) -> Option<String> {
    let version = match SignatureMatch::of(bytes) {
        SignatureMatch::Complete(version) => version,
        SignatureMatch::Partial if !bytes.is_empty() => {
            return Some("perhaps its beginning".to_owned());
        }
        SignatureMatch::Partial | SignatureMatch::Mismatch => return None,
    };
    Some(match Decoder::new(limits).advance(bytes) {
        Step::Complete { consumed, .. } => format!("{version}, {consumed} bytes"),
        Step::NeedMore => format!("{version}, incomplete"),
        Step::Invalid(invalid) => format!("{version}, invalid: {invalid}"),
        Step::NotAHeader => return None,
    })
}

impl InvalidHeader {
    fn of(invalid: Invalid, bytes: &[u8]) -> Self {
        let Invalid { reason, offset, expected } = invalid;
        Self {
            reason: reason.name(),
            rule: reason.rule().map(|rule| format!("pp{rule:02}")),
            offset,
            expected,
            dump: Dump { bytes, offset }.to_string(),
        }
    }
}

/// The first byte that fits no signature, of bytes that are no header.
fn first_unfit(bytes: &[u8]) -> usize {
    let is_unfit = |end: &usize| SignatureMatch::of(&bytes[..=*end]) == SignatureMatch::Mismatch;
    (0..bytes.len()).find(is_unfit).unwrap_or_default()
}

#[cfg(test)]
mod tests;
