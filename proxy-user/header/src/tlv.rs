//! TLVs, the type-length-value fields that follow the addresses of a v2 header.
//!
//! [`Tlvs`] is a sequence of complete fields, so iterating over it can't fail. The decoder checks the
//! values of known types once. Values of unknown types are never looked at (pp33, pp42).

pub mod describe;
pub mod policy;

use std::borrow::Cow;
use std::fmt;

use ppp::v2::{TypeLengthValue, TypeLengthValues};
use proxy_common::Reason;

use super::Invalid;

/// The types that this crate knows, by number. (`type` is a keyword of Rust.)
pub mod kind {
    /// The application protocol that TLS agreed on; opaque bytes.
    pub const ALPN: u8 = 0x01;
    /// The host name that the client asked for; UTF-8.
    pub const AUTHORITY: u8 = 0x02;
    /// Checksum of the whole header; 4 bytes, network order.
    pub const CRC32C: u8 = 0x03;
    /// Padding.
    pub const NOOP: u8 = 0x04;
    /// The sender's name for the connection; up to 128 opaque bytes.
    pub const UNIQUE_ID: u8 = 0x05;
    /// TLS between client and sender; see [`Ssl`](super::Ssl).
    pub const SSL: u8 = 0x20;
    /// Inside SSL: the TLS version; US-ASCII.
    pub const SSL_VERSION: u8 = 0x21;
    /// Inside SSL: the common name of the client's certificate; UTF-8.
    pub const SSL_COMMON_NAME: u8 = 0x22;
    /// Inside SSL: the cipher; US-ASCII.
    pub const SSL_CIPHER: u8 = 0x23;
    /// Inside SSL: the algorithm that signed the sender's certificate; US-ASCII.
    pub const SSL_SIGNATURE_ALGORITHM: u8 = 0x24;
    /// Inside SSL: the algorithm of the sender's key; US-ASCII.
    pub const SSL_KEY_ALGORITHM: u8 = 0x25;
    /// Inside SSL: the key-exchange group; US-ASCII.
    pub const SSL_GROUP: u8 = 0x26;
    /// Inside SSL: the scheme of the handshake's signature; US-ASCII.
    pub const SSL_SIGNATURE_SCHEME: u8 = 0x27;
    /// Inside SSL: the client's certificate; DER.
    pub const SSL_CLIENT_CERTIFICATE: u8 = 0x28;
    /// The network namespace's name; US-ASCII.
    pub const NETNS: u8 = 0x30;
    /// Google Private Service Connect: connection id.
    pub const GOOGLE: u8 = 0xE0;
    /// Alibaba Cloud: VPC, endpoint or endpoint service id.
    pub const ALIBABA: u8 = 0xE1;
    /// AWS: VPC endpoint id.
    pub const AWS: u8 = 0xEA;
    /// Azure Private Link: link id.
    pub const AZURE: u8 = 0xEE;
}

/// Longest unique id in bytes (pp38).
pub const MAX_UNIQUE_ID: usize = 128;

/// Bytes of a field before its value: kind and length.
pub(super) const FIELD_HEAD: usize = 3;

/// One TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its type; see [`kind`].
    pub kind: u8,
    /// Its value, possibly empty.
    pub value: &'a [u8],
}

/// A sequence of complete TLVs, in the order in which they were sent. Empty by default.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Tlvs<'a>(&'a [u8]);

impl<'a> Tlvs<'a> {
    /// Accepts bytes that consist of complete TLVs and nothing else (pp34). The error says how many bytes
    /// of complete TLVs precede the broken one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Overrun> {
        let mut whole = 0;
        for field in TypeLengthValues::from(bytes) {
            match field {
                Ok(field) => whole += FIELD_HEAD + field.value.len(),
                Err(_) => return Err(Overrun { whole }),
            }
        }
        Ok(Self(bytes))
    }

    /// The TLVs as they are encoded in the header.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there are no TLVs.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the TLVs in their order.
    pub fn iter(self) -> TlvIter<'a> {
        TlvIter(TypeLengthValues::from(self.0))
    }

    /// The first TLV of a type.
    pub fn find(self, kind: u8) -> Option<Tlv<'a>> {
        self.iter().find(|tlv| tlv.kind == kind)
    }
}

impl<'a> IntoIterator for Tlvs<'a> {
    type Item = Tlv<'a>;
    type IntoIter = TlvIter<'a>;

    fn into_iter(self) -> TlvIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Tlvs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// An iterator over [`Tlvs`].
#[derive(Clone, Debug)]
pub struct TlvIter<'a>(TypeLengthValues<'a>);

impl<'a> Iterator for TlvIter<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        // The fields are known to be complete, and `ppp` borrows what it finds in a slice.
        match self.0.next()? {
            Ok(TypeLengthValue { kind, value: Cow::Borrowed(value) }) => Some(Tlv { kind, value }),
            _ => None,
        }
    }
}

/// A TLV extends past the end, or one or two bytes are left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("behind {whole} bytes of whole TLVs, one runs over the end")]
pub struct Overrun {
    /// How many bytes of complete TLVs precede it.
    pub whole: usize,
}

/// The value of an SSL TLV (pp39).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ssl<'a> {
    /// Bits that say what the client did: [`Ssl::USED_TLS`] and others.
    pub client: u8,
    /// 0 if the client presented a certificate and it was verified; see [`Ssl::is_verified`].
    pub verify: u32,
    /// The sub-TLVs 0x21 to 0x28.
    pub fields: Tlvs<'a>,
}

impl<'a> Ssl<'a> {
    /// [`Ssl::client`] bit: the client connected over TLS.
    pub const USED_TLS: u8 = 0x01;
    /// [`Ssl::client`] bit: it presented a certificate on this connection.
    pub const CERTIFICATE_ON_CONNECTION: u8 = 0x02;
    /// [`Ssl::client`] bit: it presented a certificate at least once in this TLS session.
    pub const CERTIFICATE_IN_SESSION: u8 = 0x04;

    /// Parses the value of a TLV of type [`kind::SSL`]; `None` if it is shorter than five bytes or its
    /// sub-TLVs are not complete.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (&[client, verify @ ..], fields) = value.split_first_chunk::<5>()?;
        let fields = Tlvs::parse(fields).ok()?;
        Some(Self { client, verify: u32::from_be_bytes(verify), fields })
    }

    /// Whether the client connected over TLS.
    pub const fn used_tls(self) -> bool {
        self.client & Self::USED_TLS != 0
    }

    /// Whether the client presented a certificate that was verified (pp40). Some senders write a
    /// verify of 0 for clients without a certificate too, so the client bits are checked as well.
    pub const fn is_verified(self) -> bool {
        let presented = Self::CERTIFICATE_ON_CONNECTION | Self::CERTIFICATE_IN_SESSION;
        self.verify == 0 && self.client & presented != 0
    }
}

/// The TLVs of a complete header from byte `start` on, if they are complete and the values of known
/// types are valid. There are none if the header ends before `start`.
pub(super) fn checked(header: &[u8], start: usize) -> Result<Tlvs<'_>, Invalid> {
    let bytes = header.get(start..).unwrap_or_default();
    let tlvs = Tlvs::parse(bytes).map_err(|overrun| Invalid {
        reason: Reason::TlvOverrun,
        offset: start + overrun.whole,
        expected: "a TLV's type, length and as many bytes, or the header's end",
    })?;

    let mut offset = start;
    let mut checksums = 0;
    for tlv in tlvs {
        let value_at = offset + FIELD_HEAD;
        let fault = if tlv.kind == kind::CRC32C {
            checksums += 1;
            checksum_fault(header, value_at, tlv.value, checksums)
        } else {
            value_fault(tlv)
        };
        if let Some((reason, expected)) = fault {
            return Err(Invalid { reason, offset: value_at, expected });
        }
        offset = value_at + tlv.value.len();
    }
    Ok(tlvs)
}

type Fault = Option<(Reason, &'static str)>;

/// Compares a checksum with that of the header (pp35, pp36). A second checksum is always wrong: each
/// would have been computed over the other, and checking many of them would take quadratic time.
fn checksum_fault(header: &[u8], value_at: usize, value: &[u8], nth: usize) -> Fault {
    let Ok(stated) = <[u8; 4]>::try_from(value) else {
        return Some((Reason::ChecksumMismatch, "four bytes of CRC32C"));
    };
    if nth > 1 {
        return Some((Reason::ChecksumMismatch, "no second CRC32C"));
    }
    if checksum(header, value_at) == u32::from_be_bytes(stated) {
        return None;
    }
    Some((Reason::ChecksumMismatch, "the header's own CRC32C"))
}

/// CRC32C of a header. The four bytes of the checksum itself, at `value_at`, count as zero (pp35).
pub(super) fn checksum(header: &[u8], value_at: usize) -> u32 {
    let before = crc32c::crc32c(&header[..value_at]);
    let zeroed = crc32c::crc32c_append(before, &[0; 4]);
    crc32c::crc32c_append(zeroed, &header[value_at + 4..])
}

/// Checks the value of a known type.
fn value_fault(tlv: Tlv<'_>) -> Fault {
    match tlv.kind {
        kind::UNIQUE_ID if tlv.value.len() > MAX_UNIQUE_ID => {
            Some((Reason::UniqueIdTooLong, "a unique id of at most 128 bytes"))
        }
        kind::AUTHORITY if str::from_utf8(tlv.value).is_err() => {
            Some((Reason::AuthorityText, "an authority in UTF-8"))
        }
        kind::NETNS if !tlv.value.is_ascii() => {
            Some((Reason::NetnsText, "a namespace's name in US-ASCII"))
        }
        kind::SSL => ssl_fault(tlv.value),
        _ => None,
    }
}

fn ssl_fault(value: &[u8]) -> Fault {
    let Some(ssl) = Ssl::parse(value) else {
        return Some((Reason::SslTlv, "client (1 byte), verify (4 bytes) and whole sub-TLVs"));
    };
    if ssl.used_tls() && ssl.fields.find(kind::SSL_VERSION).is_none() {
        return Some((Reason::SslVersion, "sub-TLV 0x21, since the client used TLS"));
    }
    None
}

#[cfg(test)]
mod tests;
