//! Framing: which version the first bytes are, and whether they are a complete header yet.
//!
//! The decoder has no buffer. The caller shows it everything received so far, again and again as that
//! grows. It looks at each byte of a v1 line once, and at the first sixteen bytes of a v2 header only
//! until the header is complete. So the work is linear in the number of bytes, however they are split,
//! and nothing is allocated. The answer never depends on the split, and an answer other than
//! [`Step::NeedMore`] is final.

use proxy_common::Reason;

use super::{Header, Invalid, Limits, Step, Version, Versions, v1, v2};

/// A complete header and its length in bytes; `None` as long as bytes are missing.
pub(super) type Progress<'a> = Result<Option<(Header<'a>, usize)>, Invalid>;

/// Decodes one header from the first bytes of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    limits: Limits,
    line: v1::LineEnd,
}

impl Decoder {
    /// A decoder for one connection.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, line: v1::LineEnd::new() }
    }

    /// Decodes `buffer`, which is everything received so far from the first byte of the connection on,
    /// and at least what the last call was shown.
    pub fn advance<'a>(&mut self, buffer: &'a [u8]) -> Step<'a> {
        let version = match SignatureMatch::of(buffer) {
            SignatureMatch::Partial => return Step::NeedMore,
            SignatureMatch::Mismatch => return Step::NotAHeader,
            SignatureMatch::Complete(version) => version,
        };
        match self.advance_known(version, buffer) {
            Ok(Some((header, consumed))) => Step::Complete { header, consumed },
            Ok(None) => Step::NeedMore,
            Err(invalid) => Step::Invalid(invalid),
        }
    }

    fn advance_known<'a>(&mut self, version: Version, buffer: &'a [u8]) -> Progress<'a> {
        check_version(version, self.limits.versions)?;
        match version {
            Version::V1 => v1::advance(&mut self.line, buffer, self.limits.max_header),
            Version::V2 => v2::advance(buffer, self.limits.max_header),
        }
    }
}

/// How a connection's first bytes compare with the signatures of both versions (pp32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureMatch {
    /// They are a proper prefix of a signature, as no bytes at all are.
    Partial,
    /// They begin with the whole signature of this version.
    Complete(Version),
    /// Some byte matches neither signature.
    Mismatch,
}

impl SignatureMatch {
    /// Compares the first bytes.
    pub fn of(buffer: &[u8]) -> Self {
        for (version, signature) in [(Version::V1, v1::SIGNATURE), (Version::V2, v2::SIGNATURE)] {
            if buffer.starts_with(signature) {
                return Self::Complete(version);
            }
            if signature.starts_with(buffer) {
                return Self::Partial;
            }
        }
        Self::Mismatch
    }
}

fn check_version(version: Version, allowed: Versions) -> Result<(), Invalid> {
    if allowed.contains(version) {
        return Ok(());
    }
    let expected = match version {
        Version::V1 => "a v2 header; v1 is not allowed here",
        Version::V2 => "a v1 header; v2 is not allowed here",
    };
    Err(Invalid { reason: Reason::VersionNotAllowed, offset: 0, expected })
}

#[cfg(test)]
mod tests;
