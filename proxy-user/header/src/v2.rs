//! Version 2: a signature of twelve bytes, then version and command, address family and protocol,
//! length, addresses, TLVs.
//!
//! The first sixteen bytes are checked one by one as they arrive. The rest is not looked at before all
//! of the stated length is there (pp31). `ppp` parses the addresses of a complete PROXY header for
//! TCP. It never sees a LOCAL header, whose family byte has to be ignored.

use ppp::v2::Addresses;
use proxy_common::Reason;

use super::decode::Progress;
use super::tlv::{Tlvs, checked};
use super::{Endpoints, Header, Invalid, Origin, Version};

/// What a v2 header begins with (pp20).
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes before the addresses.
pub(super) const FIXED: usize = 16;

const AT_COMMAND: usize = 12;
const AT_FAMILY: usize = 13;
const AT_LENGTH: usize = 14;

/// The byte of version and command, for each command.
pub(super) const LOCAL: u8 = 0x20;
pub(super) const PROXY: u8 = 0x21;

/// Bytes of address family and protocol that are written. Two of them name TCP.
pub(super) const UNSPEC: u8 = 0x00;
pub(super) const TCP4: u8 = 0x11;
pub(super) const TCP6: u8 = 0x21;

/// Decodes the header once all of it is there.
pub(super) fn advance(buffer: &[u8], max_header: usize) -> Progress<'_> {
    let Some(&byte) = buffer.get(AT_COMMAND) else { return Ok(None) };
    let command = Command::of(byte)?;

    let Some(&family) = buffer.get(AT_FAMILY) else { return Ok(None) };
    if command == Command::Proxy {
        check_family(family)?;
    }

    check_maximum(&buffer[AT_LENGTH..], max_header)?;
    let Some(&[high, low]) = buffer.get(AT_LENGTH..FIXED).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command == Command::Proxy && address_block(family).is_none_or(|block| length < block) {
        let expected = "a length that holds the family's address block: 12, 36 or 216 bytes";
        return Err(Invalid { reason: Reason::V2AddressLength, offset: AT_LENGTH, expected });
    }

    let Some(block) = buffer.get(..FIXED + length) else { return Ok(None) };
    let header = match command {
        Command::Local => local(block, family)?,
        Command::Proxy => proxied(block, family)?,
    };
    Ok(Some((header, block.len())))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Local,
    Proxy,
}

impl Command {
    fn of(byte: u8) -> Result<Self, Invalid> {
        match byte {
            LOCAL => Ok(Self::Local),
            PROXY => Ok(Self::Proxy),
            _ if byte >> 4 == 2 => {
                let expected = "command 0 (LOCAL) or 1 (PROXY) in the low half";
                Err(Invalid { reason: Reason::V2Command, offset: AT_COMMAND, expected })
            }
            _ => {
                let expected = "version 2 in the high half";
                Err(Invalid { reason: Reason::V2Version, offset: AT_COMMAND, expected })
            }
        }
    }
}

fn check_family(byte: u8) -> Result<(), Invalid> {
    if byte >> 4 <= 3 && byte & 0x0f <= 2 {
        return Ok(());
    }
    let expected = "family 0 to 3 in the high half, transport 0 to 2 in the low half";
    Err(Invalid { reason: Reason::V2Family, offset: AT_FAMILY, expected })
}

/// Refuses a length that exceeds the maximum as soon as its first byte shows that. `bytes` begin with
/// the length.
fn check_maximum(bytes: &[u8], max_header: usize) -> Result<(), Invalid> {
    let at_least = match *bytes {
        [] => 0,
        [high] => u16::from_be_bytes([high, 0]),
        [high, low, ..] => u16::from_be_bytes([high, low]),
    };
    if FIXED + usize::from(at_least) <= max_header {
        return Ok(());
    }
    let expected = "a length within the configured maximum";
    Err(Invalid { reason: Reason::HeaderTooLong, offset: AT_LENGTH, expected })
}

/// Length of the family's address block (pp29); `None` if the family does not exist.
const fn address_block(family: u8) -> Option<usize> {
    match family >> 4 {
        0 => Some(0),
        1 => Some(12),
        2 => Some(36),
        3 => Some(216),
        _ => None,
    }
}

/// A LOCAL header is valid whatever follows its length (pp23), unless it carries a wrong checksum. Its
/// TLVs are returned if the bytes after the family's address block are valid TLVs.
fn local(block: &[u8], family: u8) -> Result<Header<'_>, Invalid> {
    let start = FIXED + address_block(family).unwrap_or(block.len());
    Ok(Header {
        version: Version::V2,
        origin: Origin::Local,
        tlvs: lenient(block, start)?,
        transport: "LOCAL",
    })
}

fn proxied(block: &[u8], family: u8) -> Result<Header<'_>, Invalid> {
    let start = FIXED + address_block(family).unwrap_or_default();
    // What follows an unspecified family is not specified either: addresses are to be ignored (pp26),
    // and no length tells them from TLVs.
    let tlvs = if family >> 4 == 0 { lenient(block, start) } else { checked(block, start) }?;
    let origin = match family {
        TCP4 | TCP6 => endpoints(block)?,
        _ => Origin::Unknown,
    };
    Ok(Header { version: Version::V2, origin, tlvs, transport: transport(family) })
}

/// The TLVs from `start` on, or none if they are invalid for another reason than the checksum.
fn lenient(block: &[u8], start: usize) -> Result<Tlvs<'_>, Invalid> {
    match checked(block, start) {
        Err(invalid) if invalid.reason != Reason::ChecksumMismatch => Ok(Tlvs::default()),
        result => result,
    }
}

/// The addresses of a complete PROXY header for TCP.
fn endpoints(block: &[u8]) -> Result<Origin, Invalid> {
    let endpoints = match ppp::v2::Header::try_from(block).map(|header| header.addresses) {
        Ok(Addresses::IPv4(ip)) => Endpoints::new(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
        Ok(Addresses::IPv6(ip)) => Endpoints::new(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
        // Everything that `ppp` refuses was refused above. If it should differ, it is believed.
        Ok(_) | Err(_) => {
            let expected = "a TCP family and its addresses";
            return Err(Invalid { reason: Reason::V2Family, offset: AT_FAMILY, expected });
        }
    };
    Ok(Origin::Proxied(endpoints))
}

/// What a valid byte of address family and protocol is called in reports.
const fn transport(family: u8) -> &'static str {
    match family {
        0x10 => "IPv4, transport unspecified",
        TCP4 => "TCP4",
        0x12 => "UDP4",
        0x20 => "IPv6, transport unspecified",
        TCP6 => "TCP6",
        0x22 => "UDP6",
        0x30 => "unix, transport unspecified",
        0x31 => "unix stream",
        0x32 => "unix datagram",
        _ => "UNSPEC",
    }
}

#[cfg(test)]
mod tests;
