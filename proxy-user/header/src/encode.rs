//! Writing a header: the first bytes that the upstream receives.
//!
//! What is written keeps every rule that the decoder checks. It is appended to the caller's buffer, so
//! that payload can follow in the same write. Nothing but the growth of that buffer allocates. A
//! failure leaves the buffer unchanged.

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::tlv::policy::TlvPolicy;
use super::tlv::{FIELD_HEAD, MAX_UNIQUE_ID, Tlvs, checksum, kind};
use super::{Endpoints, Origin, Version, v2};

/// The length in bytes up to which a header fits into one segment on every path (pp44).
pub const ONE_SEGMENT: usize = 536;

/// A header to be written.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The version to write.
    pub version: Version,
    /// On whose behalf the connection to the upstream is made.
    pub origin: Origin,
    /// The inbound header's TLVs; empty if there was no header. Version 1 has no TLVs, and ignores them.
    pub tlvs: Tlvs<'a>,
    /// Which of them are passed on, and which are added.
    pub policy: &'a TlvPolicy,
    /// A unique id of this connection to add; at most 128 bytes (pp38).
    pub unique_id: Option<&'a [u8]>,
}

impl Outgoing<'_> {
    /// A header without TLVs.
    pub fn plain(version: Version, origin: Origin) -> Self {
        const NONE: &TlvPolicy = &TlvPolicy::NONE;
        Self { version, origin, tlvs: Tlvs::default(), policy: NONE, unique_id: None }
    }

    /// Appends the header to a buffer. This can't fail for version 1, nor for a header without TLVs.
    pub fn append_to(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let result = match self.version {
            Version::V1 => {
                append_line(out, self.origin);
                Ok(())
            }
            Version::V2 => self.append_block(out),
        };
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn append_block(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.extend_from_slice(v2::SIGNATURE);
        append_command(out, self.origin);
        self.append_tlvs(out)?;
        if self.policy.crc32c {
            append_tlv(out, kind::CRC32C, &[0; 4])?;
        }

        let header = &mut out[start..];
        let length = header.len() - v2::FIXED;
        let stated = u16::try_from(length).map_err(|_| EncodeError::TooLong(length))?;
        header[v2::FIXED - 2..v2::FIXED].copy_from_slice(&stated.to_be_bytes());
        if self.policy.crc32c {
            let value_at = header.len() - 4;
            let sum = checksum(header, value_at);
            header[value_at..].copy_from_slice(&sum.to_be_bytes());
        }
        Ok(())
    }

    /// First the TLVs that are passed on, in their order, then those that are added. A receiver reads
    /// only the first authority and the first unique id, so an added one replaces those that were
    /// received (pp48).
    fn append_tlvs(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let is_replaced = |kind: u8| match kind {
            kind::AUTHORITY => self.policy.authority.is_some(),
            kind::UNIQUE_ID => self.unique_id.is_some(),
            _ => false,
        };
        let passed = self.tlvs.iter().filter(|tlv| self.policy.passes(tlv.kind));
        for tlv in passed.filter(|tlv| !is_replaced(tlv.kind)) {
            append_tlv(out, tlv.kind, tlv.value)?;
        }
        if let Some(authority) = &self.policy.authority {
            append_tlv(out, kind::AUTHORITY, authority.as_bytes())?;
        }
        if let Some(id) = self.unique_id {
            if id.len() > MAX_UNIQUE_ID {
                return Err(EncodeError::UniqueId(id.len()));
            }
            append_tlv(out, kind::UNIQUE_ID, id)?;
        }
        for custom in &self.policy.custom {
            append_tlv(out, custom.kind(), custom.value())?;
        }
        Ok(())
    }
}

/// Why a header can't be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Addresses and TLVs are longer than the length field can express.
    #[error("addresses and TLVs of {0} bytes fit no header; pass on or add fewer than 65536")]
    TooLong(usize),
    /// The unique id is too long.
    #[error("a unique id of {0} bytes is too long; it may have 128")]
    UniqueId(usize),
}

/// Both addresses, in one family. If they differ, the IPv4 address is written as IPv4-mapped IPv6,
/// since a header has one family for both (pp12).
enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl Pair {
    fn of(endpoints: Endpoints) -> Self {
        match (endpoints.client.get().ip(), endpoints.destination.get().ip()) {
            (IpAddr::V4(client), IpAddr::V4(destination)) => Self::V4(client, destination),
            (client, destination) => Self::V6(as_ipv6(client), as_ipv6(destination)),
        }
    }
}

fn as_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// The v1 line. UNKNOWN is written only for what v1 can't express otherwise (pp19).
fn append_line(out: &mut Vec<u8>, origin: Origin) {
    let Origin::Proxied(endpoints) = origin else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let ports = (endpoints.client.get().port(), endpoints.destination.get().port());
    let written = match Pair::of(endpoints) {
        Pair::V4(client, destination) => {
            write!(out, "PROXY TCP4 {client} {destination} {} {}\r\n", ports.0, ports.1)
        }
        Pair::V6(client, destination) => {
            let (client, destination) = (HexGroups(client), HexGroups(destination));
            write!(out, "PROXY TCP6 {client} {destination} {} {}\r\n", ports.0, ports.1)
        }
    };
    written.expect("writing to a Vec does not fail");
}

/// An IPv6 address in hexadecimal groups only. The standard library writes the last 32 bits of an
/// IPv4-mapped address in dotted form, which the specification does not mention (pp11).
struct HexGroups(Ipv6Addr);

impl fmt::Display for HexGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.segments() {
            [0, 0, 0, 0, 0, 0xffff, high, low] => write!(f, "::ffff:{high:x}:{low:x}"),
            _ => self.0.fmt(f),
        }
    }
}

/// Command, family, a length of zero that is filled in later, and the addresses (pp24, pp30).
fn append_command(out: &mut Vec<u8>, origin: Origin) {
    let endpoints = match origin {
        Origin::Local => return out.extend_from_slice(&[v2::LOCAL, v2::UNSPEC, 0, 0]),
        Origin::Unknown => return out.extend_from_slice(&[v2::PROXY, v2::UNSPEC, 0, 0]),
        Origin::Proxied(endpoints) => endpoints,
    };
    match Pair::of(endpoints) {
        Pair::V4(client, destination) => {
            out.extend_from_slice(&[v2::PROXY, v2::TCP4, 0, 0]);
            out.extend_from_slice(&client.octets());
            out.extend_from_slice(&destination.octets());
        }
        Pair::V6(client, destination) => {
            out.extend_from_slice(&[v2::PROXY, v2::TCP6, 0, 0]);
            out.extend_from_slice(&client.octets());
            out.extend_from_slice(&destination.octets());
        }
    }
    out.extend_from_slice(&endpoints.client.get().port().to_be_bytes());
    out.extend_from_slice(&endpoints.destination.get().port().to_be_bytes());
}

fn append_tlv(out: &mut Vec<u8>, kind: u8, value: &[u8]) -> Result<(), EncodeError> {
    let too_long = |_| EncodeError::TooLong(FIELD_HEAD + value.len());
    let length = u16::try_from(value.len()).map_err(too_long)?;
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests;
