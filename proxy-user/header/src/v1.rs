//! Version 1: one line of text, such as `PROXY TCP4 192.0.2.1 198.51.100.7 40000 443`, that ends in
//! CRLF.
//!
//! Until CRLF has arrived, only the end of the line is searched for (pp16). Then the fields are
//! checked strictly, and `ppp` parses the addresses. What `ppp` or the standard library would accept
//! although the specification does not, such as a port of `+80`, does not reach them.

use std::net::Ipv6Addr;

use ppp::v1::{Addresses, BinaryParseError, ParseError};
use proxy_common::Reason;

use super::decode::Progress;
use super::{Endpoints, Header, Invalid, Origin, Tlvs, Version};

/// What a v1 header begins with; the space separates the first field (pp08).
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Longest line in bytes, CRLF included (pp15).
pub(super) const MAX_LINE: usize = 107;

const CRLF: usize = 2;

const EXPECTED_PROTOCOL: &str = "TCP4, TCP6 or UNKNOWN";
const EXPECTED_IPV4: &str = "four numbers from 0 to 255 without leading zeros, joined by dots";
const EXPECTED_IPV6: &str =
    "groups of hex digits joined by colons, at most one '::', 128 bits; dots at the end only";
const EXPECTED_PORT: &str = "a number from 0 to 65535 without sign or leading zero";

/// Decodes the header once its line has ended.
pub(super) fn advance<'a>(line: &mut LineEnd, buffer: &'a [u8], max_header: usize) -> Progress<'a> {
    let Some(length) = line.find(buffer, max_header)? else { return Ok(None) };
    let header = parse(&buffer[..length])?;
    Ok(Some((header, length)))
}

/// Searches for the end of the line. Each byte is looked at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineEnd {
    /// How many bytes are known not to be part of a line end.
    searched: usize,
}

impl LineEnd {
    pub(super) const fn new() -> Self {
        Self { searched: SIGNATURE.len() }
    }

    /// Length of the line with its CRLF, or `None` while there can still be one (pp14, pp15).
    fn find(&mut self, buffer: &[u8], max_header: usize) -> Result<Option<usize>, Invalid> {
        let limit = MAX_LINE.min(max_header);
        while let Some(&byte) = buffer.get(self.searched) {
            let at = self.searched;
            match (byte, buffer.get(at + 1)) {
                (b'\r', Some(b'\n')) => return Ok(Some(at + CRLF)),
                (b'\r', None) => return Ok(None),
                (b'\r', Some(_)) => return Err(lone(at + 1, "LF after CR")),
                (b'\n', _) => return Err(lone(at, "CR before LF")),
                _ if at + CRLF >= limit => return Err(too_long(at, limit)),
                _ => self.searched += 1,
            }
        }
        Ok(None)
    }
}

fn too_long(offset: usize, limit: usize) -> Invalid {
    if limit == MAX_LINE {
        Invalid { reason: Reason::V1TooLong, offset, expected: "CRLF within the first 107 bytes" }
    } else {
        let expected = "CRLF within the configured maximum";
        Invalid { reason: Reason::HeaderTooLong, offset, expected }
    }
}

fn lone(offset: usize, expected: &'static str) -> Invalid {
    Invalid { reason: Reason::V1LineEnd, offset, expected }
}

/// Decodes a line that ends in its only CRLF.
fn parse(line: &[u8]) -> Result<Header<'static>, Invalid> {
    let mut fields = Fields { line: &line[..line.len() - CRLF], next: SIGNATURE.len() };
    let protocol = fields.take()?;
    let (origin, transport) = match protocol.text {
        b"UNKNOWN" => (Origin::Unknown, "UNKNOWN"),
        b"TCP4" => (proxied(line, fields, check_ipv4)?, "TCP4"),
        b"TCP6" => (proxied(line, fields, check_ipv6)?, "TCP6"),
        _ => return Err(protocol.refuse(Reason::V1Protocol, EXPECTED_PROTOCOL)),
    };
    Ok(Header { version: Version::V1, origin, tlvs: Tlvs::default(), transport })
}

/// Reads two addresses and two ports, checked field by field and then parsed by `ppp`.
fn proxied(
    line: &[u8],
    mut fields: Fields<'_>,
    check_address: fn(&Field<'_>) -> Result<(), Invalid>,
) -> Result<Origin, Invalid> {
    let source = fields.take()?;
    check_address(&source)?;
    let destination = fields.take()?;
    check_address(&destination)?;
    check_port(&fields.take()?)?;
    check_port(&fields.take()?)?;
    fields.end()?;

    let addresses = match ppp::v1::Header::try_from(line) {
        Ok(header) => header.addresses,
        Err(BinaryParseError::Parse(ParseError::InvalidDestinationAddress(_))) => {
            return Err(destination.refuse(Reason::V1Ipv6, EXPECTED_IPV6));
        }
        // After the checks above, only the groups of an IPv6 address can still be wrong.
        Err(_) => return Err(source.refuse(Reason::V1Ipv6, EXPECTED_IPV6)),
    };
    Ok(match addresses {
        Addresses::Unknown => Origin::Unknown,
        Addresses::Tcp4(ip) => Origin::Proxied(Endpoints::new(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        )),
        Addresses::Tcp6(ip) => Origin::Proxied(Endpoints::new(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        )),
    })
}

/// One field of the line.
struct Field<'a> {
    /// Bytes from the line's start.
    offset: usize,
    text: &'a [u8],
}

impl Field<'_> {
    fn refuse(&self, reason: Reason, expected: &'static str) -> Invalid {
        Invalid { reason, offset: self.offset, expected }
    }
}

/// Splits a line, without its CRLF, into fields. Exactly one space separates two (pp08).
struct Fields<'a> {
    line: &'a [u8],
    /// Where the next field begins; past the end of the line if there is none.
    next: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self) -> Result<Field<'a>, Invalid> {
        let offset = self.next;
        let rest = self.line.get(offset..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        if length == 0 {
            let offset = offset.min(self.line.len());
            let expected = "another field behind one space";
            return Err(Invalid { reason: Reason::V1Fields, offset, expected });
        }
        self.next = offset + length + 1;
        Ok(Field { offset, text: &rest[..length] })
    }

    /// Checks that nothing is left, not even a space.
    fn end(&self) -> Result<(), Invalid> {
        if self.next > self.line.len() {
            return Ok(());
        }
        let expected = "CRLF right behind the second port";
        Err(Invalid { reason: Reason::V1Fields, offset: self.next - 1, expected })
    }
}

fn check_ipv4(field: &Field<'_>) -> Result<(), Invalid> {
    if is_ipv4(field.text) {
        Ok(())
    } else if is_ipv6(field.text) {
        Err(field.refuse(Reason::V1Family, "an IPv4 address, as TCP4 says"))
    } else {
        Err(field.refuse(Reason::V1Ipv4, EXPECTED_IPV4))
    }
}

/// Checks everything but the groups, and an IPv4 address in place of the last two (RFC 4291), which
/// `ppp` checks. A zone is refused (pp11).
fn check_ipv6(field: &Field<'_>) -> Result<(), Invalid> {
    if is_ipv4(field.text) {
        Err(field.refuse(Reason::V1Family, "an IPv6 address, as TCP6 says"))
    } else if field.text.iter().all(|&byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)) {
        Ok(())
    } else {
        Err(field.refuse(Reason::V1Ipv6, EXPECTED_IPV6))
    }
}

fn check_port(field: &Field<'_>) -> Result<(), Invalid> {
    if is_decimal(field.text, u32::from(u16::MAX)) {
        Ok(())
    } else {
        Err(field.refuse(Reason::V1Port, EXPECTED_PORT))
    }
}

fn is_ipv4(text: &[u8]) -> bool {
    let mut octets = text.split(|&byte| byte == b'.');
    octets.by_ref().take(4).filter(|octet| is_decimal(octet, 255)).count() == 4
        && octets.next().is_none()
}

fn is_ipv6(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Whether the text is a number up to `max` in the one way to write it (pp10, pp13).
fn is_decimal(text: &[u8], max: u32) -> bool {
    let canonical = matches!(text, [b'0'] | [b'1'..=b'9', ..]);
    let value = text.iter().try_fold(0u32, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    });
    canonical && value.is_some_and(|value| value <= max)
}

#[cfg(test)]
mod tests;
