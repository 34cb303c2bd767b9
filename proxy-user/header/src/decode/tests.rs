use super::super::golden::{complete, decided_at, not_a_header, refused, refused_within};
use super::super::{Origin, golden};
use super::*;

const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 443\r\n";

#[test]
fn nothing_is_decided_without_a_byte() {
    assert_eq!(Decoder::new(Limits::default()).advance(b""), Step::NeedMore);
}

#[test]
fn pp04_any_split_of_a_real_header_gives_the_same_answer() {
    for header in [LINE, golden::AWS, golden::HAPROXY, golden::HAPROXY_TLS] {
        complete(header);
    }
}

#[test]
fn pp08_the_first_word_is_upper_case_and_ends_in_a_space() {
    not_a_header(b"p");
    not_a_header(b"PRo");
    not_a_header(b"PROXY\t");
    not_a_header(b"PROXY\r");
    not_a_header(b"PROXYT");
}

#[test]
fn pp20_all_twelve_bytes_of_the_signature_count() {
    for at in 1..v2::SIGNATURE.len() {
        let mut bytes = v2::SIGNATURE[..=at].to_vec();
        bytes[at] ^= 0x20;
        not_a_header(&bytes);
    }
    not_a_header(b"\r\n\r\n\r");
}

#[test]
fn pp32_the_first_byte_that_fits_neither_decides() {
    for first in 0..=u8::MAX {
        let expected =
            if matches!(first, b'P' | b'\r') { Step::NeedMore } else { Step::NotAHeader };
        assert_eq!(Decoder::new(Limits::default()).advance(&[first]), expected, "{first:#04x}");
    }
    not_a_header(b"PO");
    not_a_header(b"PRI");
    not_a_header(b"\x16");
    not_a_header(b"\r\nG");
    assert_eq!(decided_at(b"GET / HTTP/1.1\r\n", 1, Limits::default()), Step::NotAHeader);
}

#[test]
fn a_version_that_is_not_allowed_is_refused_with_its_signature() {
    let only = |version| Limits { versions: Versions::only(version), ..Limits::default() };
    refused_within(b"PROXY ", Reason::VersionNotAllowed, 0, only(Version::V2));
    refused_within(v2::SIGNATURE, Reason::VersionNotAllowed, 0, only(Version::V1));
    golden::complete_within(LINE, only(Version::V1));
    golden::complete_within(golden::AWS, only(Version::V2));
}

#[test]
fn the_maximum_counts_whole_headers() {
    let maximum = |max_header| Limits { max_header, ..Limits::default() };
    golden::complete_within(LINE, maximum(LINE.len()));
    let least = LINE.len() - 1;
    refused_within(&LINE[..least - 1], Reason::HeaderTooLong, least - 2, maximum(least));

    golden::complete_within(golden::AWS, maximum(golden::AWS.len()));
    refused_within(&golden::AWS[..16], Reason::HeaderTooLong, 14, maximum(golden::AWS.len() - 1));
}

#[test]
fn no_limit_however_odd_makes_it_panic() {
    for max_header in [0, 1, 2, 6, 15, 16, usize::MAX] {
        for bytes in [LINE, golden::AWS] {
            let limits = Limits { max_header, versions: Versions::ALL };
            let whole = Decoder::new(limits).advance(bytes);
            assert_eq!(matches!(whole, Step::Complete { .. }), max_header == usize::MAX);
        }
    }
}

#[test]
fn a_second_header_is_payload_to_the_first() {
    let twice = [LINE, golden::AWS].concat();
    let Step::Complete { header, consumed } = Decoder::new(Limits::default()).advance(&twice)
    else {
        panic!("not complete");
    };
    assert_eq!(consumed, LINE.len());
    assert_ne!(header.origin, complete(golden::AWS).origin);
    let second = Decoder::new(Limits::default()).advance(&twice[consumed..]);
    assert!(matches!(second, Step::Complete { .. }));
}

#[test]
fn the_answer_stays_once_it_is_given() {
    let mut decoder = Decoder::new(Limits::default());
    let first = decoder.advance(LINE);
    assert_eq!(decoder.advance(LINE), first);
    assert!(matches!(
        first,
        Step::Complete { header: Header { origin: Origin::Proxied(_), .. }, .. }
    ));
    refused(b"PROXY TCP4\n", Reason::V1LineEnd, 10);
}
