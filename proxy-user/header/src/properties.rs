//! What holds for all headers and all bytes, over generated ones.

use std::net::{IpAddr, SocketAddr};

use proptest::collection::vec;
use proptest::prelude::*;

use super::tlv::{MAX_UNIQUE_ID, kind};
use super::{
    Decoder, Endpoints, Limits, Origin, Outgoing, Pass, Step, TlvPolicy, Tlvs, Version, golden,
};

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        8 => (address(), address()).prop_map(|(c, d)| Origin::Proxied(Endpoints::new(c, d))),
        1 => Just(Origin::Local),
        1 => Just(Origin::Unknown),
    ]
}

/// TLVs of kinds whose values can be anything.
fn opaque_tlvs() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(kind::ALPN), 0x31..=0xffu8];
    let tlv = (kind, vec(any::<u8>(), 0..40)).prop_map(|(kind, value)| golden::tlv(kind, &value));
    vec(tlv, 0..8).prop_map(|tlvs| tlvs.concat())
}

/// Bytes that get far into the decoder: a header that was damaged, or a beginning and anything.
fn nearly_a_header() -> impl Strategy<Value = Vec<u8>> {
    let real = prop_oneof![
        Just(golden::AWS.to_vec()),
        Just(golden::HAPROXY_TLS.to_vec()),
        Just(b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 443\r\n".to_vec()),
        Just(b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\nrest".to_vec()),
    ];
    let damaged = (real, vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), 0..40usize)
        .prop_map(|(mut bytes, changes, cut)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(20)));
            bytes
        });
    let begun = (0x1fu8..0x24, 0u8..0x42, 0..80u16, vec(any::<u8>(), 0..120)).prop_map(
        |(command, family, length, rest)| {
            [super::v2::SIGNATURE, &[command, family], &length.to_be_bytes(), &rest].concat()
        },
    );
    let text = "PROXY (TCP4|TCP6|UNKNOWN|[A-Z]{1,4}) [0-9a-f:. \r\n+]{0,120}(\r\n)?";
    prop_oneof![damaged, begun, text.prop_map(String::into_bytes), vec(any::<u8>(), 0..64)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        origin in origin(),
        version in prop_oneof![Just(Version::V1), Just(Version::V2)],
        inbound in opaque_tlvs(),
        unique_id in prop::option::of(vec(any::<u8>(), 0..=MAX_UNIQUE_ID)),
        authority in prop::option::of(".{0,20}"),
        crc32c: bool,
        payload in vec(any::<u8>(), 0..20),
    ) {
        let policy = TlvPolicy { pass: Pass::All, authority, crc32c, ..TlvPolicy::NONE };
        let tlvs = Tlvs::parse(&inbound).unwrap();
        let unique_id = unique_id.as_deref();
        let mut bytes = Vec::new();
        Outgoing { version, origin, tlvs, policy: &policy, unique_id }
            .append_to(&mut bytes)
            .unwrap();
        let length = bytes.len();
        bytes.extend_from_slice(&payload);

        let step = Decoder::new(Limits::default()).advance(&bytes);
        let Step::Complete { header, consumed } = step else { panic!("{step:?}") };
        prop_assert_eq!(consumed, length);
        prop_assert_eq!(header.version, version);
        match version {
            Version::V1 => {
                let local_is_unknown = if origin == Origin::Local { Origin::Unknown } else { origin };
                prop_assert_eq!(header.origin, local_is_unknown);
                prop_assert!(header.tlvs.is_empty());
            }
            Version::V2 => {
                prop_assert_eq!(header.origin, origin);
                prop_assert!(header.tlvs.as_bytes().starts_with(&inbound));
                prop_assert_eq!(header.tlvs.find(kind::UNIQUE_ID).map(|tlv| tlv.value), unique_id);
                prop_assert_eq!(header.tlvs.find(kind::CRC32C).is_some(), crc32c);
            }
        }
    }

    #[test]
    fn any_split_gives_the_same_answer_as_whole(
        bytes in nearly_a_header(),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        max_header in prop_oneof![Just(4096), 16..200usize],
    ) {
        let limits = Limits { max_header, ..Limits::default() };
        let whole = Decoder::new(limits).advance(&bytes);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.sort_unstable();
        let mut decoder = Decoder::new(limits);
        for end in ends {
            let part = decoder.advance(&bytes[..end]);
            prop_assert!(part == Step::NeedMore || part == whole, "{part:?} then {whole:?}");
        }
        prop_assert_eq!(decoder.advance(&bytes), whole);
    }

    #[test]
    fn no_header_needs_more_than_the_maximum(
        bytes in nearly_a_header(),
        max_header in 16..200usize,
    ) {
        let limits = Limits { max_header, ..Limits::default() };
        match Decoder::new(limits).advance(&bytes) {
            Step::NeedMore => prop_assert!(bytes.len() < max_header),
            Step::Complete { consumed, .. } => prop_assert!(consumed <= max_header),
            Step::Invalid(invalid) => prop_assert!(invalid.offset <= bytes.len()),
            Step::NotAHeader => {}
        }
    }

    #[test]
    fn what_is_accepted_can_be_passed_on(bytes in nearly_a_header()) {
        let step = Decoder::new(Limits::default()).advance(&bytes);
        let Step::Complete { header, .. } = step else { return Ok(()) };
        let policy = TlvPolicy { pass: Pass::All, crc32c: true, ..TlvPolicy::NONE };
        let outgoing =
            Outgoing { tlvs: header.tlvs, policy: &policy, ..Outgoing::plain(Version::V2, header.origin) };
        let mut out = Vec::new();
        outgoing.append_to(&mut out).unwrap();
        let step = Decoder::new(Limits::default()).advance(&out);
        let Step::Complete { header: again, .. } = step else { panic!("{step:?}") };
        prop_assert_eq!(again.origin, header.origin);
    }

    #[test]
    fn any_field_can_be_described(kind: u8, value in vec(any::<u8>(), 0..80)) {
        let words = super::tlv::describe::describe(super::Tlv { kind, value: &value }).to_string();
        prop_assert!(!words.chars().any(char::is_control));
    }
}
