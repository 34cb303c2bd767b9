use super::super::golden::{self, IPV4_BLOCK, IPV6_BLOCK, block, complete, proxied, tlv};
use super::super::tlv::policy::{CustomTlv, KindSet, Pass};
use super::super::{Decoder, Limits, Step};
use super::*;

const IPV4: (&str, &str) = ("192.0.2.1:40000", "198.51.100.7:443");
const IPV6: (&str, &str) = ("[2001:db8::1]:40000", "[2001:db8::2]:443");

fn plain(version: Version, origin: Origin) -> Vec<u8> {
    let mut out = Vec::new();
    Outgoing::plain(version, origin).append_to(&mut out).unwrap();
    complete(&out);
    out
}

fn line(origin: Origin) -> String {
    String::from_utf8(plain(Version::V1, origin)).unwrap()
}

/// A v2 header for TCP over IPv4 with what the policy makes of these inbound TLVs.
fn with_policy(inbound: &[u8], policy: &TlvPolicy) -> Vec<u8> {
    let tlvs = Tlvs::parse(inbound).unwrap();
    let origin = proxied(IPV4.0, IPV4.1);
    let mut out = Vec::new();
    Outgoing { tlvs, policy, ..Outgoing::plain(Version::V2, origin) }.append_to(&mut out).unwrap();
    complete(&out);
    out
}

/// Just the TLVs of [`with_policy`].
fn told(inbound: &[u8], policy: &TlvPolicy) -> Vec<u8> {
    with_policy(inbound, policy).split_off(16 + 12)
}

#[test]
fn v1_lines() {
    assert_eq!(line(proxied(IPV4.0, IPV4.1)), "PROXY TCP4 192.0.2.1 198.51.100.7 40000 443\r\n");
    assert_eq!(line(proxied(IPV6.0, IPV6.1)), "PROXY TCP6 2001:db8::1 2001:db8::2 40000 443\r\n");
    let end = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    assert_eq!(line(proxied(end, end)).len(), 104);
}

#[test]
fn pp11_v1_writes_hex_groups_only() {
    let compatible = line(proxied("[::192.0.2.1]:1", "[::1]:2"));
    assert_eq!(compatible, "PROXY TCP6 ::c000:201 ::1 1 2\r\n");
    let mapped = line(proxied("0.0.0.1:1", "[::]:2"));
    assert_eq!(mapped, "PROXY TCP6 ::ffff:0:1 :: 1 2\r\n");
}

#[test]
fn pp12_v1_never_mixes_families() {
    assert_eq!(
        line(proxied(IPV4.0, IPV6.1)),
        "PROXY TCP6 ::ffff:c000:201 2001:db8::2 40000 443\r\n"
    );
    assert_eq!(
        line(proxied(IPV6.0, IPV4.1)),
        "PROXY TCP6 2001:db8::1 ::ffff:c633:6407 40000 443\r\n"
    );
}

#[test]
fn pp13_ports_are_written_as_they_are_read() {
    assert_eq!(
        line(proxied("192.0.2.1:0", "192.0.2.2:65535")),
        "PROXY TCP4 192.0.2.1 192.0.2.2 0 65535\r\n"
    );
}

#[test]
fn pp19_v1_says_unknown_only_where_it_has_no_other_word() {
    for origin in [Origin::Local, Origin::Unknown] {
        assert_eq!(line(origin), "PROXY UNKNOWN\r\n");
    }
}

#[test]
fn pp24_local_is_written_without_a_family() {
    assert_eq!(plain(Version::V2, Origin::Local), b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");

    let inbound = tlv(kind::UNIQUE_ID, b"probe");
    let policy = TlvPolicy { pass: Pass::All, ..TlvPolicy::NONE };
    let tlvs = Tlvs::parse(&inbound).unwrap();
    let mut out = Vec::new();
    let header = Outgoing { tlvs, policy: &policy, ..Outgoing::plain(Version::V2, Origin::Local) };
    header.append_to(&mut out).unwrap();
    assert_eq!(out, b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x08\x05\x00\x05probe");
    assert_eq!(complete(&out).tlvs, tlvs);
}

#[test]
fn pp26_unknown_is_written_as_unspecified() {
    assert_eq!(plain(Version::V2, Origin::Unknown), b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00");
}

#[test]
fn pp30_v2_blocks() {
    assert_eq!(plain(Version::V2, proxied(IPV4.0, IPV4.1)), block(0x21, 0x11, &[IPV4_BLOCK]));
    assert_eq!(plain(Version::V2, proxied(IPV6.0, IPV6.1)), block(0x21, 0x21, &[IPV6_BLOCK]));

    let mixed: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24\
        \0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01\
        \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x9c\x40\x01\xbb";
    assert_eq!(plain(Version::V2, proxied(IPV4.0, IPV6.1)), mixed);
}

#[test]
fn the_header_goes_behind_what_is_there() {
    for version in [Version::V1, Version::V2] {
        let mut out = b"before".to_vec();
        Outgoing::plain(version, proxied(IPV6.0, IPV4.1)).append_to(&mut out).unwrap();
        assert!(out.starts_with(b"before"));
        complete(&out[6..]);
    }
}

#[test]
fn pp33_tlvs_are_passed_on_in_order_with_duplicates() {
    let inbound = [
        tlv(0xe5, b"one"),
        tlv(kind::ALPN, b"h2"),
        tlv(0xe5, b"two"),
        tlv(0xe5, b"one"),
        tlv(0xff, b""),
    ]
    .concat();
    let all = TlvPolicy { pass: Pass::All, ..TlvPolicy::NONE };
    assert_eq!(told(&inbound, &all), inbound);
    assert_eq!(told(&inbound, &TlvPolicy::NONE), b"");

    let custom: KindSet = [0xe5].into_iter().collect();
    let listed = TlvPolicy { pass: Pass::Only(custom), ..TlvPolicy::NONE };
    assert_eq!(
        told(&inbound, &listed),
        [tlv(0xe5, b"one"), tlv(0xe5, b"two"), tlv(0xe5, b"one")].concat()
    );
    let dropped = TlvPolicy { drop: custom, ..all };
    assert_eq!(told(&inbound, &dropped), [tlv(kind::ALPN, b"h2"), tlv(0xff, b"")].concat());
}

#[test]
fn pp35_a_stale_checksum_and_padding_are_not_passed_on() {
    let all = TlvPolicy { pass: Pass::All, ..TlvPolicy::NONE };
    let inbound = complete(golden::AWS).tlvs.as_bytes();
    assert_eq!(told(inbound, &all), tlv(kind::AWS, b"\x01vpce-08d2bf15fac5001c9"));
}

#[test]
fn pp35_the_checksum_is_that_of_the_header_written() {
    let policy = TlvPolicy { pass: Pass::All, crc32c: true, ..TlvPolicy::NONE };
    let golden: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x13\
        \xc0\x00\x02\x01\xc6\x33\x64\x07\x9c\x40\x01\xbb\x03\x00\x04\xb9\x96\x52\xf9";
    let written = with_policy(b"", &policy);
    assert_eq!(written, golden);
    // A checksum comes in, another goes out; the decoder in `with_policy` verifies it.
    let inbound = complete(golden::HAPROXY).tlvs;
    let told = told(inbound.as_bytes(), &policy);
    let kinds: Vec<u8> = Tlvs::parse(&told).unwrap().iter().map(|tlv| tlv.kind).collect();
    assert_eq!(kinds, [kind::UNIQUE_ID, kind::SSL, kind::CRC32C]);
    assert!(!told.ends_with(inbound.find(kind::CRC32C).unwrap().value));
}

#[test]
fn what_is_added_stands_behind_what_is_passed_on() {
    let policy = TlvPolicy {
        pass: Pass::All,
        authority: Some("example.org".to_owned()),
        custom: vec![
            CustomTlv::new(0xe5, b"text".to_vec()).unwrap(),
            CustomTlv::new(0xe1, vec![]).unwrap(),
        ],
        ..TlvPolicy::NONE
    };
    let inbound = [tlv(kind::ALPN, b"h2"), tlv(0xe5, b"theirs")].concat();
    let tlvs = Tlvs::parse(&inbound).unwrap();
    let origin = proxied(IPV4.0, IPV4.1);
    let mut out = Vec::new();
    let header =
        Outgoing { version: Version::V2, origin, tlvs, policy: &policy, unique_id: Some(b"ours") };
    header.append_to(&mut out).unwrap();
    let expected: &[u8] = b"\x01\x00\x02h2\xe5\x00\x06theirs\
        \x02\x00\x0bexample.org\x05\x00\x04ours\xe5\x00\x04text\xe1\x00\x00";
    assert_eq!(complete(&out).tlvs.as_bytes(), expected);
    assert_eq!(out, block(0x21, 0x11, &[IPV4_BLOCK, expected]));

    let mut text = Vec::new();
    Outgoing { version: Version::V1, ..header }.append_to(&mut text).unwrap();
    assert_eq!(text, b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 443\r\n");
}

#[test]
fn pp48_an_added_authority_or_unique_id_replaces_those_that_came() {
    let inbound = [
        tlv(kind::AUTHORITY, b"theirs.example"),
        tlv(kind::UNIQUE_ID, b"theirs"),
        tlv(kind::ALPN, b"h2"),
        tlv(kind::AUTHORITY, b"again.example"),
        tlv(kind::UNIQUE_ID, b"again"),
    ]
    .concat();
    let all = TlvPolicy { pass: Pass::All, ..TlvPolicy::NONE };
    let ours = TlvPolicy { authority: Some("ours.example".to_owned()), ..all.clone() };
    let told = |policy: &TlvPolicy, unique_id| {
        let tlvs = Tlvs::parse(&inbound).unwrap();
        let origin = proxied(IPV4.0, IPV4.1);
        let mut out = Vec::new();
        Outgoing { version: Version::V2, origin, tlvs, policy, unique_id }
            .append_to(&mut out)
            .unwrap();
        complete(&out);
        out.split_off(16 + 12)
    };
    let (theirs, ids) = ([&inbound[..17], &inbound[31..47]], [&inbound[17..26], &inbound[47..]]);
    assert_eq!(told(&all, None), inbound);
    let alpn = tlv(kind::ALPN, b"h2");
    let [authority, id] = [tlv(kind::AUTHORITY, b"ours.example"), tlv(kind::UNIQUE_ID, b"ours")];
    assert_eq!(told(&ours, None), [ids[0], &alpn, ids[1], &authority].concat());
    assert_eq!(told(&all, Some(b"ours")), [theirs[0], &alpn, theirs[1], &id].concat());
    assert_eq!(told(&ours, Some(b"ours")), [alpn, authority, id].concat());
}

#[test]
fn pp38_a_unique_id_that_is_too_long_is_not_written() {
    let origin = proxied(IPV4.0, IPV4.1);
    let mut out = b"before".to_vec();
    let id = [0; 129];
    let header = Outgoing { unique_id: Some(&id[..128]), ..Outgoing::plain(Version::V2, origin) };
    assert_eq!(header.append_to(&mut Vec::new()), Ok(()));
    let header = Outgoing { unique_id: Some(&id), ..header };
    assert_eq!(header.append_to(&mut out), Err(EncodeError::UniqueId(129)));
    assert_eq!(out, b"before");
}

#[test]
fn pp28_a_header_that_the_length_cannot_say_is_not_written() {
    let origin = proxied(IPV4.0, IPV4.1);
    let room = usize::from(u16::MAX) - 12;
    let value = |length: usize| TlvPolicy {
        custom: vec![CustomTlv::new(0xe5, vec![0; length]).unwrap()],
        ..TlvPolicy::NONE
    };

    let policy = value(room - 3);
    let mut out = Vec::new();
    let header = Outgoing { policy: &policy, ..Outgoing::plain(Version::V2, origin) };
    header.append_to(&mut out).unwrap();
    let limits = Limits { max_header: Limits::HIGHEST_MAX, ..Limits::default() };
    let step = Decoder::new(limits).advance(&out);
    assert!(matches!(step, Step::Complete { consumed: 65_551, .. }), "{step:?}");

    let mut out = b"before".to_vec();
    let (policy, sum) = (value(room - 2), TlvPolicy { crc32c: true, ..value(room - 3) });
    let too_long = Outgoing { policy: &policy, ..header };
    assert_eq!(too_long.append_to(&mut out), Err(EncodeError::TooLong(65_536)));
    let too_long = Outgoing { policy: &sum, ..header };
    assert_eq!(too_long.append_to(&mut out), Err(EncodeError::TooLong(65_542)));
    let authority = TlvPolicy { authority: Some("a".repeat(70_000)), ..TlvPolicy::NONE };
    let too_long = Outgoing { policy: &authority, ..header };
    assert_eq!(too_long.append_to(&mut out), Err(EncodeError::TooLong(70_003)));
    assert_eq!(out, b"before");
}
