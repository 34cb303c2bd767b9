//! What an incomplete header still lacks, in words for people. Nothing is decided by it.

use std::fmt;

use super::decode::SignatureMatch;
use super::{Limits, Version, v1, v2};

/// What is missing of a header for which the decoder answered
/// [`Step::NeedMore`](super::Step::NeedMore).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Nothing has been received.
    Anything,
    /// This many more bytes of a version's signature.
    Signature(Version, usize),
    /// The end of a v1 line, within this many bytes from its start.
    LineEnd(usize),
    /// This many more of the sixteen bytes that every v2 header begins with.
    Fixed(usize),
    /// This many more bytes of addresses and TLVs, and the length of the whole v2 header.
    Rest(usize, usize),
}

impl Awaited {
    /// What `buffer`, the beginning of a header, lacks.
    pub fn by(buffer: &[u8], limits: Limits) -> Self {
        match SignatureMatch::of(buffer) {
            SignatureMatch::Complete(Version::V1) => {
                Self::LineEnd(v1::MAX_LINE.min(limits.max_header))
            }
            SignatureMatch::Complete(Version::V2) => Self::by_block(buffer),
            SignatureMatch::Partial | SignatureMatch::Mismatch if buffer.is_empty() => {
                Self::Anything
            }
            SignatureMatch::Partial | SignatureMatch::Mismatch => {
                let (version, signature) = if v1::SIGNATURE.starts_with(buffer) {
                    (Version::V1, v1::SIGNATURE)
                } else {
                    (Version::V2, v2::SIGNATURE)
                };
                Self::Signature(version, signature.len().saturating_sub(buffer.len()))
            }
        }
    }

    fn by_block(buffer: &[u8]) -> Self {
        let Some(&[.., high, low]) = buffer.first_chunk::<{ v2::FIXED }>() else {
            return Self::Fixed(v2::FIXED - buffer.len());
        };
        let length = v2::FIXED + usize::from(u16::from_be_bytes([high, low]));
        Self::Rest(length.saturating_sub(buffer.len()), length)
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => f.write_str("a header's first byte"),
            Self::Signature(version, more) => {
                write!(f, "{} of the {version} signature", More(*more))
            }
            Self::LineEnd(limit) => write!(f, "CRLF within the first {limit} bytes"),
            Self::Fixed(more) => write!(f, "{} of the v2 header's first 16", More(*more)),
            Self::Rest(more, length) => {
                write!(f, "{} of a v2 header of {length}", More(*more))
            }
        }
    }
}

struct More(usize);

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} more byte{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Decoder, Step, golden};
    use super::*;

    fn awaited(bytes: &[u8]) -> String {
        assert_eq!(Decoder::new(Limits::default()).advance(bytes), Step::NeedMore);
        Awaited::by(bytes, Limits::default()).to_string()
    }

    #[test]
    fn what_each_beginning_lacks() {
        assert_eq!(awaited(b""), "a header's first byte");
        assert_eq!(awaited(b"PRO"), "3 more bytes of the v1 signature");
        assert_eq!(awaited(b"\r\n\r\n\0\r\nQUIT"), "1 more byte of the v2 signature");
        assert_eq!(awaited(b"PROXY TCP4 192."), "CRLF within the first 107 bytes");
        assert_eq!(awaited(&golden::AWS[..13]), "3 more bytes of the v2 header's first 16");
        assert_eq!(awaited(&golden::AWS[..16]), "84 more bytes of a v2 header of 100");
        assert_eq!(awaited(&golden::AWS[..99]), "1 more byte of a v2 header of 100");
    }

    #[test]
    fn a_line_ends_within_the_configured_maximum() {
        let limits = Limits { max_header: 64, ..Limits::default() };
        assert_eq!(Awaited::by(b"PROXY ", limits), Awaited::LineEnd(64));
    }
}
