//! Decoding: any bytes, in any split.
//!
//! An input is what a connection brings, followed by [`Knobs`]: a seed is a header, perhaps some
//! payload, and eight bytes.

use proxy_header::tlv::describe::describe;
use proxy_header::{
    Decoder, Header, Limits, Outgoing, Pass, SignatureMatch, Step, TlvPolicy, Version, Versions,
};

/// Checks one input.
pub fn check(data: &[u8]) {
    let (bytes, knobs) = match data.split_last_chunk() {
        Some((bytes, chunk)) => (bytes, Knobs::from(*chunk)),
        None => (data, Knobs::default()),
    };
    let whole = Decoder::new(knobs.limits).advance(bytes);
    check_answer(bytes, knobs.limits, whole);
    check_splits(bytes, &knobs, whole);
    if let Step::Complete { header, consumed } = whole {
        check_length(bytes, consumed, knobs.limits, whole);
        check_header(&header, knobs.limits.versions);
        check_passing_on(&header);
    }
}

/// How the bytes are shown to the decoder.
#[derive(Debug, Default)]
struct Knobs {
    limits: Limits,
    /// Places to cut at, each taken modulo the number of places that there are.
    cuts: [u8; 5],
}

impl From<[u8; 8]> for Knobs {
    /// Versions (1 byte), the maximum (2 bytes), cuts (5 bytes). Zeros are the defaults.
    fn from([versions, high, low, cuts @ ..]: [u8; 8]) -> Self {
        let versions = match versions % 3 {
            1 => Versions::only(Version::V1),
            2 => Versions::only(Version::V2),
            _ => Versions::ALL,
        };
        let max_header = match usize::from(u16::from_be_bytes([high, low])) {
            0 => Limits::default().max_header,
            more => Limits::LOWEST_MAX + more,
        };
        Self { limits: Limits { max_header, versions }, cuts }
    }
}

/// The answer agrees with itself.
fn check_answer(bytes: &[u8], limits: Limits, step: Step<'_>) {
    match step {
        Step::NeedMore => assert!(bytes.len() < limits.max_header, "needs more than the maximum"),
        Step::NotAHeader => assert_eq!(SignatureMatch::of(bytes), SignatureMatch::Mismatch),
        Step::Invalid(invalid) => {
            assert!(matches!(SignatureMatch::of(bytes), SignatureMatch::Complete(_)));
            assert!(invalid.offset <= bytes.len(), "{invalid:?} lies outside of the bytes");
            assert!(!invalid.to_string().is_empty());
        }
        Step::Complete { header, consumed } => {
            assert_eq!(SignatureMatch::of(bytes), SignatureMatch::Complete(header.version));
            assert!(consumed <= bytes.len() && consumed <= limits.max_header);
        }
    }
}

/// Any split gives the answer to the whole, or asks for more; and never asks for more afterwards.
fn check_splits(bytes: &[u8], knobs: &Knobs, whole: Step<'_>) {
    let mut ends = knobs.cuts.map(|cut| usize::from(cut) % (bytes.len() + 1));
    ends.sort_unstable();
    let mut decoder = Decoder::new(knobs.limits);
    let mut decided = false;
    for end in ends.into_iter().chain([bytes.len()]) {
        let part = decoder.advance(&bytes[..end]);
        assert_eq!(part, Decoder::new(knobs.limits).advance(&bytes[..end]), "{end} bytes at once");
        if decided || part != Step::NeedMore {
            assert_eq!(part, whole, "at {end}");
            decided = true;
        }
    }
    assert_eq!(decoder.advance(bytes), whole, "asked again");
}

/// A header is decided by its last byte, and by nothing behind that.
fn check_length(bytes: &[u8], consumed: usize, limits: Limits, whole: Step<'_>) {
    assert_eq!(Decoder::new(limits).advance(&bytes[..consumed]), whole);
    assert_eq!(Decoder::new(limits).advance(&bytes[..consumed - 1]), Step::NeedMore);
}

/// It is of an allowed version, and each of its TLVs can be shown on a terminal.
fn check_header(header: &Header<'_>, versions: Versions) {
    assert!(versions.contains(header.version));
    assert!(header.version == Version::V2 || header.tlvs.is_empty());
    for tlv in header.tlvs {
        let words = describe(tlv).to_string();
        assert!(!words.contains(char::is_control), "{words:?}");
    }
}

/// Whatever is accepted can be told to an upstream, in both versions.
fn check_passing_on(header: &Header<'_>) {
    let policy = TlvPolicy { pass: Pass::All, crc32c: true, ..TlvPolicy::NONE };
    for version in [Version::V1, Version::V2] {
        let plain = Outgoing::plain(version, header.origin);
        let mut out = Vec::new();
        let outgoing = Outgoing { tlvs: header.tlvs, policy: &policy, ..plain };
        if outgoing.append_to(&mut out).is_err() {
            // No room for the checksum, or for addresses that the inbound header had not.
            assert!(header.tlvs.as_bytes().len() > usize::from(u16::MAX) - 64);
            continue;
        }
        let limits = Limits { max_header: Limits::HIGHEST_MAX, ..Limits::default() };
        let step = Decoder::new(limits).advance(&out);
        let Step::Complete { header: again, consumed } = step else { panic!("{step:?}") };
        assert_eq!(consumed, out.len());
        if version == Version::V2 {
            assert_eq!(again.origin, header.origin);
        }
    }
}
