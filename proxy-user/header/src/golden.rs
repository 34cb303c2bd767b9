//! The questions that every test of the decoder asks of its bytes.
//!
//! Each question is asked of the bytes whole, byte by byte, and cut in two at every place; the
//! answer must be the same, and must not come before or after the byte that decides.

use proxy_common::Reason;

pub use super::samples::*;
use super::{Decoder, Endpoints, Header, Invalid, Limits, Origin, Step, Tlv};

/// What follows a header in these tests, and must not be taken for a part of it.
const PAYLOAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// The endpoints in words.
pub fn proxied(client: &str, destination: &str) -> Origin {
    let parse = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
    Origin::Proxied(Endpoints::new(parse(client), parse(destination)))
}

/// The bytes are a whole header; it is decided at its last byte, and payload is left alone.
pub fn complete(bytes: &[u8]) -> Header<'_> {
    complete_within(bytes, Limits::default())
}

/// As [`complete`], with these limits.
pub fn complete_within(bytes: &[u8], limits: Limits) -> Header<'_> {
    let step = decided_at(bytes, bytes.len(), limits);
    let Step::Complete { header, consumed } = step else { panic!("{step:?} of {bytes:x?}") };
    assert_eq!(consumed, bytes.len());

    let followed = [bytes, PAYLOAD].concat();
    assert_eq!(Decoder::new(limits).advance(&followed), step, "with payload behind it");
    header
}

/// The header's TLVs.
pub fn tlvs_of(bytes: &[u8]) -> Vec<Tlv<'_>> {
    complete(bytes).tlvs.iter().collect()
}

/// The bytes are refused for this reason, at this offset, when the last of them arrives.
pub fn refused(bytes: &[u8], reason: Reason, offset: usize) {
    refused_within(bytes, reason, offset, Limits::default());
}

/// As [`refused`], with these limits.
pub fn refused_within(bytes: &[u8], reason: Reason, offset: usize, limits: Limits) {
    match decided_at(bytes, bytes.len(), limits) {
        Step::Invalid(Invalid { reason: actual, offset: at, .. }) => {
            assert_eq!((actual, at), (reason, offset), "of {}", bytes.escape_ascii());
        }
        step => panic!("{step:?} of {}", bytes.escape_ascii()),
    }
}

/// The bytes are no header, which is known when the last of them arrives.
pub fn not_a_header(bytes: &[u8]) {
    assert_eq!(decided_at(bytes, bytes.len(), Limits::default()), Step::NotAHeader);
}

/// Asks for the answer to the bytes in every split; it must come with byte number `last`.
pub fn decided_at(bytes: &[u8], last: usize, limits: Limits) -> Step<'_> {
    let whole = Decoder::new(limits).advance(bytes);
    let mut bytewise = Decoder::new(limits);
    for end in 0..=bytes.len() {
        let fresh = Decoder::new(limits).advance(&bytes[..end]);
        assert_eq!(fresh == Step::NeedMore, end < last, "{end} of {}", bytes.escape_ascii());
        assert_eq!(bytewise.advance(&bytes[..end]), fresh, "byte by byte, {end}");

        let mut in_two = Decoder::new(limits);
        in_two.advance(&bytes[..end]);
        assert_eq!(in_two.advance(bytes), whole, "cut at {end}");
    }
    whole
}
