//! The PROXY protocol, versions 1 and 2, in both directions: bytes in, meaning out, and back.
//!
//! [`Decoder`] takes the first bytes of a connection in any split and answers as early as they allow.
//! [`Outgoing`] appends a header for an upstream to a buffer. The decoder is strict: what the
//! specification forbids is refused, with the rule that is broken and the place where. Nothing here
//! knows a socket, a clock, a configuration or which sources to trust; nothing blocks, version 2
//! allocates nothing, and no input makes it panic.
//!
//! # Reading
//!
//! Show the decoder everything that has been received so far, again and again as that grows:
//!
//! ```
//! use proxy_header::{Decoder, Limits, Origin, Step};
//!
//! let mut decoder = Decoder::new(Limits::default());
//! let mut received = b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 443\r".to_vec();
//! assert_eq!(decoder.advance(&received), Step::NeedMore);
//!
//! received.extend(b"\nGET / HTTP/1.1\r\n");
//! let Step::Complete { header, consumed } = decoder.advance(&received) else { panic!() };
//! let Origin::Proxied(endpoints) = header.origin else { panic!() };
//! assert_eq!(endpoints.client.to_string(), "192.0.2.1:40000");
//! assert_eq!(endpoints.destination.to_string(), "198.51.100.7:443");
//! assert_eq!(&received[consumed..], b"GET / HTTP/1.1\r\n");
//! ```
//!
//! A header that breaks a rule is [`Invalid`], and says which one:
//!
//! ```
//! use proxy_header::{Decoder, Limits, Step};
//!
//! let step = Decoder::new(Limits::default()).advance(b"PROXY TCP4 192.0.2.1 198.51.100.7 1 70000\r\n");
//! let Step::Invalid(invalid) = step else { panic!() };
//! assert_eq!(
//!     invalid.to_string(),
//!     "v1-port (pp13) at byte 36: expected a number from 0 to 65535 without sign or leading zero"
//! );
//! ```
//!
//! # Writing
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use proxy_header::{Endpoints, Origin, Outgoing, Version};
//!
//! let client: SocketAddr = "[2001:db8::7]:40000".parse()?;
//! let destination: SocketAddr = "[2001:db8::1]:443".parse()?;
//! let origin = Origin::Proxied(Endpoints::new(client, destination));
//! let mut buffer = Vec::new();
//! Outgoing::plain(Version::V1, origin).append_to(&mut buffer)?;
//! assert_eq!(buffer, b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! TLVs of an inbound header are passed on, and others added, by a [`TlvPolicy`]:
//!
//! ```
//! use proxy_header::tlv::kind;
//! use proxy_header::{Decoder, Limits, Outgoing, Pass, Step, TlvPolicy, Version};
//!
//! // From 192.0.2.1:40000 to 198.51.100.7:443, with the host name that the client asked for.
//! let inbound = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x1a\
//!     \xc0\x00\x02\x01\xc6\x33\x64\x07\x9c\x40\x01\xbb\x02\x00\x0bexample.org";
//! let step = Decoder::new(Limits::default()).advance(inbound);
//! let Step::Complete { header, .. } = step else { panic!() };
//! let authority = header.tlvs.find(kind::AUTHORITY).map(|tlv| tlv.value);
//! assert_eq!(authority, Some(&b"example.org"[..]));
//!
//! let policy = TlvPolicy { pass: Pass::All, crc32c: true, ..TlvPolicy::NONE };
//! let plain = Outgoing::plain(Version::V2, header.origin);
//! let outgoing = Outgoing { tlvs: header.tlvs, policy: &policy, ..plain };
//! let mut buffer = Vec::new();
//! outgoing.append_to(&mut buffer)?;
//! // The checksum's type, length and value.
//! assert_eq!(buffer.len(), inbound.len() + 7);
//! # Ok::<(), proxy_header::EncodeError>(())
//! ```
//!
//! # Modules
//!
//! | module | concern |
//! |---|---|
//! | [`decode`] | which version it is, and when to ask for more |
//! | [`awaited`] | what is missing, in words |
//! | `v1` | the text line |
//! | `v2` | the binary header |
//! | [`tlv`] | type-length-value fields: walk, checks, names |
//! | [`encode`] | writing a header |
//! | `address` | the two addresses that a header names |
//!
//! Rules of the specification are cited by their number in Foreword's `CONFORMANCE.md`, `pp08` to
//! `pp48`. The crate `ppp` parses addresses and walks TLVs, and is given only complete headers that
//! have passed the stricter checks here. It does not write headers: its builder allocates a buffer per
//! header, its writer counts bytes that are already in the caller's buffer against the header's limit,
//! and its v1 text has IPv4-mapped addresses in a dotted form that not every receiver knows (pp11). Nor
//! is it shown LOCAL headers, whose family byte it believes (pp23), or UNKNOWN lines, whose rest it
//! wants to be UTF-8 (pp17).
#![forbid(unsafe_code)]

mod address;
pub mod awaited;
pub mod decode;
pub mod encode;
pub mod tlv;
mod v1;
mod v2;

#[cfg(any(test, feature = "samples"))]
pub mod samples;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

pub use proxy_common::Reason;

pub use address::{ClientAddr, OriginalDst};
pub use decode::{Decoder, SignatureMatch};
pub use encode::{EncodeError, ONE_SEGMENT, Outgoing};
pub use tlv::policy::{CustomTlv, CustomTlvError, KindSet, Pass, TlvPolicy};
pub use tlv::{Tlv, Tlvs};

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// The text line.
    V1,
    /// The binary block.
    V2,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// A text that names no [`Version`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no version of the PROXY protocol; write v1 or v2")]
pub struct UnknownVersion(String);

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(UnknownVersion(text.to_owned())),
        }
    }
}

/// The versions that an inbound header may have. It can be collected from an iterator of [`Version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    v1: bool,
    v2: bool,
}

impl Versions {
    /// Both versions.
    pub const ALL: Self = Self { v1: true, v2: true };

    /// One version.
    pub const fn only(version: Version) -> Self {
        Self { v1: matches!(version, Version::V1), v2: matches!(version, Version::V2) }
    }

    /// Whether headers of this version are allowed.
    pub const fn contains(self, version: Version) -> bool {
        match version {
            Version::V1 => self.v1,
            Version::V2 => self.v2,
        }
    }
}

impl FromIterator<Version> for Versions {
    fn from_iter<I: IntoIterator<Item = Version>>(versions: I) -> Self {
        versions.into_iter().fold(Self { v1: false, v2: false }, |all, version| Self {
            v1: all.v1 || version == Version::V1,
            v2: all.v2 || version == Version::V2,
        })
    }
}

/// What a receiver accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest header in bytes, from [`Limits::LOWEST_MAX`] to [`Limits::HIGHEST_MAX`].
    pub max_header: usize,
    /// Versions allowed.
    pub versions: Versions,
}

impl Limits {
    /// The lowest sensible `max_header`: a v2 header without addresses.
    pub const LOWEST_MAX: usize = 16;
    /// The highest length that a v2 header can have: 16 bytes, and what its length field can express.
    pub const HIGHEST_MAX: usize = 16 + u16::MAX as usize;
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_header: 4096, versions: Versions::ALL }
    }
}

/// Both ends of the connection, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Where the connection began.
    pub client: ClientAddr,
    /// What the client connected to.
    pub destination: OriginalDst,
}

impl Endpoints {
    /// The two addresses of a header, or of a connection that came without one.
    pub fn new(client: impl Into<SocketAddr>, destination: impl Into<SocketAddr>) -> Self {
        Self {
            client: ClientAddr::new(client.into()),
            destination: OriginalDst::new(destination.into()),
        }
    }
}

/// On whose behalf a connection was made, according to its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client's, over TCP.
    Proxied(Endpoints),
    /// The proxy's own, such as a health check: v2 LOCAL. The receiver uses the real endpoints.
    Local,
    /// The header does not say, or names something other than TCP: v1 UNKNOWN, v2 UNSPEC, unix or
    /// datagram (pp17, pp26, pp27). The receiver uses the real endpoints.
    Unknown,
}

impl Origin {
    /// The client, where the header states one.
    pub fn client(self) -> Option<ClientAddr> {
        match self {
            Self::Proxied(endpoints) => Some(endpoints.client),
            Self::Local | Self::Unknown => None,
        }
    }
}

/// A complete, valid header. It borrows the TLVs from the bytes that it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its version.
    pub version: Version,
    /// On whose behalf the connection was made.
    pub origin: Origin,
    /// The TLVs, which are valid; none in v1.
    pub tlvs: Tlvs<'a>,
    /// The address family and protocol, for reports: `TCP4`, `unix datagram`, `LOCAL` …
    pub transport: &'static str,
}

/// What the decoder makes of the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A valid header. What follows the first `consumed` bytes is payload.
    Complete {
        /// The header.
        header: Header<'a>,
        /// Its length in bytes.
        consumed: usize,
    },
    /// The bytes are the beginning of a header, or there are none yet.
    NeedMore,
    /// The bytes begin like a header of neither version. All of them are payload.
    NotAHeader,
    /// The bytes begin like a header, and are not a valid one.
    Invalid(Invalid),
}

/// Why a header is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Which rule is broken.
    pub reason: Reason,
    /// Where it is broken: how many bytes from the start of the header.
    pub offset: usize,
    /// What would have been valid there.
    pub expected: &'static str,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, offset, expected } = self;
        write!(f, "{reason}")?;
        if let Some(rule) = reason.rule() {
            write!(f, " (pp{rule:02})")?;
        }
        write!(f, " at byte {offset}: expected {expected}")
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_as_they_are_read() {
        for version in [Version::V1, Version::V2] {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        for text in ["", "1", "V1", "v3", " v2"] {
            assert_eq!(text.parse::<Version>(), Err(UnknownVersion(text.to_owned())));
        }
    }

    #[test]
    fn versions_contain_what_they_were_made_of() {
        let only_v2 = Versions::only(Version::V2);
        assert!(only_v2.contains(Version::V2) && !only_v2.contains(Version::V1));
        assert_eq!([Version::V2].into_iter().collect::<Versions>(), only_v2);
        assert_eq!([Version::V2, Version::V1].into_iter().collect::<Versions>(), Versions::ALL);
    }

    #[test]
    fn an_error_names_rule_place_and_remedy() {
        let port = Invalid { reason: Reason::V1Port, offset: 27, expected: "a port" };
        assert_eq!(port.to_string(), "v1-port (pp13) at byte 27: expected a port");
        let size = Invalid { reason: Reason::HeaderTooLong, offset: 14, expected: "less" };
        assert_eq!(size.to_string(), "header-too-long at byte 14: expected less");
    }
}
