//! What a probe sends: a header, the same header with one byte wrong, a request.

use std::fmt;
use std::str::FromStr;

use super::hello;
use crate::header::{Endpoints, Origin, Outgoing, Version};

/// Where a v1 line names the family, after `PROXY TCP`.
const V1_FAMILY: usize = 9;
/// Where a v2 header names the version, after the signature.
const V2_VERSION: usize = 12;

/// Which header is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderKind {
    /// v1 with the connection's own addresses.
    V1,
    /// v2 with the connection's own addresses.
    V2,
    /// v2 without addresses, as a health check's.
    Local,
}

/// A text that names no [`HeaderKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind;

impl FromStr for HeaderKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            "local" => Ok(Self::Local),
            _ => Err(UnknownKind),
        }
    }
}

impl fmt::Display for HeaderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Local => "v2 LOCAL",
        })
    }
}

impl HeaderKind {
    /// The header for a connection with these endpoints.
    pub fn well_formed(self, endpoints: Endpoints) -> Vec<u8> {
        let (version, origin) = match self {
            Self::V1 => (Version::V1, Origin::Proxied(endpoints)),
            Self::V2 => (Version::V2, Origin::Proxied(endpoints)),
            Self::Local => (Version::V2, Origin::Local),
        };
        let mut header = Vec::new();
        let written = Outgoing::plain(version, origin).append_to(&mut header);
        written.expect("a header without TLVs can always be written");
        header
    }

    /// The same header with one byte wrong, which every parser must refuse: the protocol `TCP9`
    /// (pp09), or a version nibble of 3 (pp21).
    pub fn malformed(self, endpoints: Endpoints) -> Vec<u8> {
        let mut header = self.well_formed(endpoints);
        match self {
            Self::V1 => header[V1_FAMILY] = b'9',
            Self::V2 | Self::Local => header[V2_VERSION] = 0x30 | header[V2_VERSION] & 0x0f,
        }
        header
    }
}

/// What the upstream is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// An HTTP GET, unless the server speaks first.
    Http(Vec<u8>),
    /// A TLS handshake.
    Tls(Vec<u8>),
    /// Bytes of the user's.
    Own(Vec<u8>),
}

impl Request {
    /// HTTP 1.0, so that the server closes after its reply.
    pub fn http(host: &str) -> Self {
        Self::Http(format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").into_bytes())
    }

    /// A TLS client's hello.
    pub fn tls(host: &str) -> Self {
        Self::Tls(hello::client_hello(host))
    }

    /// A text with backslash escapes.
    pub fn own(text: &str) -> Result<Self, BadEscape> {
        unescape(text).map(Self::Own)
    }

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Http(bytes) | Self::Tls(bytes) | Self::Own(bytes) => bytes,
        }
    }
}

/// A backslash that is followed by something else than `r`, `n`, `t`, `0`, `\` or `x` and two hex
/// digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEscape;

fn unescape(text: &str) -> Result<Vec<u8>, BadEscape> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => hex_digit(rest.next())? << 4 | hex_digit(rest.next())?,
            _ => return Err(BadEscape),
        });
    }
    Ok(bytes)
}

fn hex_digit(byte: Option<u8>) -> Result<u8, BadEscape> {
    let digit = byte.and_then(|byte| char::from(byte).to_digit(16));
    digit.and_then(|digit| u8::try_from(digit).ok()).ok_or(BadEscape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{Decoder, Invalid, Limits, Step};
    use proxy_common::Reason;

    const KINDS: [HeaderKind; 3] = [HeaderKind::V1, HeaderKind::V2, HeaderKind::Local];

    fn endpoints() -> [Endpoints; 2] {
        let pair = |client: &str, destination: &str| {
            let parse = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
            Endpoints::new(parse(client), parse(destination))
        };
        [pair("192.0.2.1:40000", "198.51.100.7:443"), pair("[fd00::1]:40000", "[fd00::2]:443")]
    }

    #[test]
    fn headers_are_what_they_are_called() {
        let [ipv4, _] = endpoints();
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 443\r\n";
        assert_eq!(HeaderKind::V1.well_formed(ipv4), line);
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
        assert_eq!(HeaderKind::Local.well_formed(ipv4), local);
        let block = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\
            \xc0\x00\x02\x01\xc6\x33\x64\x07\x9c\x40\x01\xbb";
        assert_eq!(HeaderKind::V2.well_formed(ipv4), block);
    }

    #[test]
    fn a_malformed_header_differs_in_one_byte_and_is_refused() {
        for (kind, endpoints) in KINDS.into_iter().flat_map(|kind| endpoints().map(|e| (kind, e))) {
            let (good, bad) = (kind.well_formed(endpoints), kind.malformed(endpoints));
            assert_eq!(good.iter().zip(&bad).filter(|(good, bad)| good != bad).count(), 1);
            let (reason, offset) = match kind {
                HeaderKind::V1 => (Reason::V1Protocol, 6),
                HeaderKind::V2 | HeaderKind::Local => (Reason::V2Version, 12),
            };
            match Decoder::new(Limits::default()).advance(&bad) {
                Step::Invalid(Invalid { reason: actual, offset: at, .. }) => {
                    assert_eq!((actual, at), (reason, offset));
                }
                step => panic!("{step:?} of {kind}"),
            }
        }
    }

    #[test]
    fn escapes_stand_for_bytes() {
        assert_eq!(Request::own(r"PING\r\n"), Ok(Request::Own(b"PING\r\n".to_vec())));
        assert_eq!(Request::own(r"\x00\xfF\0\t\\"), Ok(Request::Own(b"\0\xff\0\t\\".to_vec())));
        assert_eq!(Request::own("é"), Ok(Request::Own("é".as_bytes().to_vec())));
        for text in [r"\", r"\q", r"\x", r"\x0", r"\xgg", r"\X00"] {
            assert_eq!(Request::own(text), Err(BadEscape), "{text}");
        }
    }
}
