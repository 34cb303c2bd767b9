use super::super::golden::{
    IPV4_BLOCK, IPV6_BLOCK, block, complete, complete_within, proxied, refused, refused_within,
    tlv, tlvs_of, with_tlvs,
};
use super::super::tlv::kind;
use super::super::{Limits, Tlv, golden};
use super::*;

/// The first bytes of a header, up to and with the command, the family and the length.
fn start(tail: &[u8]) -> Vec<u8> {
    [SIGNATURE, tail].concat()
}

#[test]
fn real_headers() {
    let aws = complete(golden::AWS);
    assert_eq!(aws.origin, proxied("172.31.7.113:51442", "172.31.10.31:80"));
    assert_eq!(aws.transport, "TCP4");
    let kinds: Vec<u8> = aws.tlvs.iter().map(|tlv| tlv.kind).collect();
    assert_eq!(kinds, [kind::CRC32C, kind::AWS, kind::NOOP]);

    let haproxy = complete(golden::HAPROXY_TLS);
    assert_eq!(haproxy.origin, proxied("127.0.0.1:59920", "127.0.0.1:18443"));
    assert_eq!(haproxy.tlvs.find(kind::AUTHORITY).unwrap().value, b"www.example.org");
}

#[test]
fn pp21_another_version_is_refused_with_its_byte() {
    for byte in (0..=u8::MAX).filter(|byte| byte >> 4 != 2) {
        refused(&start(&[byte]), Reason::V2Version, 12);
    }
}

#[test]
fn pp22_another_command_is_refused_with_its_byte() {
    for byte in 0x22..=0x2f {
        refused(&start(&[byte]), Reason::V2Command, 12);
    }
}

#[test]
fn pp23_local_is_accepted_whatever_the_family_and_the_bytes_are() {
    for family in 0..=u8::MAX {
        for rest in [&b""[..], b"x", b"xy", IPV4_BLOCK, b"\x02\xff\xff", &[0xff; 250]] {
            let bytes = block(LOCAL, family, &[rest]);
            let header = complete(&bytes);
            assert_eq!((header.origin, header.transport), (Origin::Local, "LOCAL"));
        }
    }
}

#[test]
fn pp23_an_nlb_health_check_shows_its_tlvs() {
    let mut check = golden::AWS.to_vec();
    check[12] = LOCAL;
    let value_at = 16 + 12 + 3;
    let sum = super::super::tlv::checksum(&check, value_at);
    check[value_at..value_at + 4].copy_from_slice(&sum.to_be_bytes());

    let header = complete(&check);
    assert_eq!(header.origin, Origin::Local);
    assert_eq!(header.tlvs.as_bytes(), &golden_tlvs(&check)[..]);
    assert!(header.tlvs.find(kind::AWS).is_some());

    check[value_at] ^= 1;
    refused(&check, Reason::ChecksumMismatch, value_at);
}

fn golden_tlvs(header: &[u8]) -> Vec<u8> {
    header[16 + 12..].to_vec()
}

#[test]
fn pp23_what_is_wrong_with_a_local_headers_tlvs_hides_them() {
    let long_id = tlv(kind::UNIQUE_ID, &[b'i'; 129]);
    for tlvs in [&long_id[..], b"\x02\x00\x01\xff", b"\x04\x00\x01", b"\x04\x00"] {
        assert!(complete(&block(LOCAL, UNSPEC, &[tlvs])).tlvs.is_empty());
    }
    let right = tlv(kind::UNIQUE_ID, b"probe");
    assert_eq!(complete(&block(LOCAL, UNSPEC, &[&right])).tlvs.as_bytes(), right);
    assert_eq!(complete(&block(LOCAL, TCP4, &[IPV4_BLOCK, &right])).tlvs.as_bytes(), right);
    assert!(complete(&block(LOCAL, 0x41, &[&right])).tlvs.is_empty());
}

#[test]
fn pp25_a_family_or_transport_out_of_range_is_refused_with_its_byte() {
    for byte in (0..=u8::MAX).filter(|byte| byte >> 4 > 3 || byte & 15 > 2) {
        refused(&start(&[PROXY, byte]), Reason::V2Family, 13);
    }
}

#[test]
fn pp26_an_unspecified_family_is_accepted_and_its_addresses_are_ignored() {
    for family in [0x00, 0x01, 0x02] {
        for rest in [&b""[..], IPV4_BLOCK, b"\xff", &[0xff; 36]] {
            let bytes = block(PROXY, family, &[rest]);
            let header = complete(&bytes);
            assert_eq!((header.origin, header.transport), (Origin::Unknown, "UNSPEC"));
        }
        let alpn = tlv(kind::ALPN, b"h2");
        assert_eq!(complete(&block(PROXY, family, &[&alpn])).tlvs.as_bytes(), alpn);
    }
    let sum = tlv(kind::CRC32C, &[0; 4]);
    refused(&block(PROXY, UNSPEC, &[&sum]), Reason::ChecksumMismatch, 19);
}

#[test]
fn pp27_what_is_no_tcp_is_taken_for_unspecified() {
    let unix = [b'/'; 216];
    for (family, addresses, name) in [
        (0x10, IPV4_BLOCK, "IPv4, transport unspecified"),
        (0x12, IPV4_BLOCK, "UDP4"),
        (0x20, IPV6_BLOCK, "IPv6, transport unspecified"),
        (0x22, IPV6_BLOCK, "UDP6"),
        (0x30, &unix[..], "unix, transport unspecified"),
        (0x31, &unix[..], "unix stream"),
        (0x32, &unix[..], "unix datagram"),
    ] {
        let alpn = tlv(kind::ALPN, b"h2");
        let bytes = block(PROXY, family, &[addresses, &alpn]);
        let header = complete(&bytes);
        assert_eq!((header.origin, header.transport), (Origin::Unknown, name));
        assert_eq!(header.tlvs.as_bytes(), alpn);
        refused(
            &block(PROXY, family, &[addresses, b"x"]),
            Reason::TlvOverrun,
            16 + addresses.len(),
        );
    }
}

#[test]
fn pp28_the_length_is_big_endian_and_skipped_exactly() {
    let noop = tlv(kind::NOOP, &[0; 0x0202]);
    let bytes = with_tlvs(&[&noop]);
    assert_eq!(bytes[14..16], [0x02, 0x11]);
    assert_eq!(tlvs_of(&bytes), [Tlv { kind: kind::NOOP, value: &[0; 0x0202] }]);
}

#[test]
fn pp28_the_longest_header_there_can_be() {
    let limits = Limits { max_header: Limits::HIGHEST_MAX, ..Limits::default() };
    let noop = tlv(kind::NOOP, &vec![0; usize::from(u16::MAX) - 12 - 3]);
    let bytes = with_tlvs(&[&noop]);
    assert_eq!(bytes.len(), Limits::HIGHEST_MAX);
    // Every split of it would be 65,551 squared bytes of reports; both ends of the scale will do.
    let mut decoder = super::super::Decoder::new(limits);
    for end in [0, 1, 12, 13, 16, 4096, bytes.len() - 1] {
        assert_eq!(decoder.advance(&bytes[..end]), super::super::Step::NeedMore);
    }
    let step = decoder.advance(&bytes);
    assert!(matches!(step, super::super::Step::Complete { consumed: 65_551, .. }), "{step:?}");
}

#[test]
fn a_length_beyond_the_maximum_is_refused_with_the_byte_that_says_so() {
    refused(&start(&[PROXY, TCP4, 0x10]), Reason::HeaderTooLong, 14);
    refused(&start(&[LOCAL, UNSPEC, 0xff]), Reason::HeaderTooLong, 14);
    refused(&start(&[PROXY, TCP4, 0x0f, 0xf1]), Reason::HeaderTooLong, 14);
    let noop = tlv(kind::NOOP, &[0; 4096 - 16 - 12 - 3]);
    assert_eq!(complete(&with_tlvs(&[&noop])).tlvs.as_bytes(), noop);

    let least = Limits { max_header: Limits::LOWEST_MAX, ..Limits::default() };
    complete_within(&block(LOCAL, UNSPEC, &[]), least);
    refused_within(&start(&[PROXY, TCP4, 0, 12]), Reason::HeaderTooLong, 14, least);
}

#[test]
fn pp29_a_length_without_room_for_the_addresses_is_refused_with_its_byte() {
    for (family, least) in [(0x11, 12), (0x12, 12), (0x10, 12), (0x21, 36), (0x22, 36), (0x31, 216)]
    {
        for length in 0..least {
            let bytes = start(&[PROXY, family, 0, length]);
            refused(&bytes, Reason::V2AddressLength, 14);
        }
        complete(&block(PROXY, family, &[&vec![0; usize::from(least)]]));
    }
}

#[test]
fn pp30_source_before_destination_addresses_before_ports() {
    let ipv4 = block(PROXY, TCP4, &[&[1, 2, 3, 4, 5, 6, 7, 8, 0x12, 0x34, 0x56, 0x78]]);
    assert_eq!(complete(&ipv4).origin, proxied("1.2.3.4:4660", "5.6.7.8:22136"));

    let ipv6 = block(PROXY, TCP6, &[IPV6_BLOCK]);
    let header = complete(&ipv6);
    assert_eq!(header.origin, proxied("[2001:db8::1]:40000", "[2001:db8::2]:443"));
    assert_eq!((header.version, header.transport), (Version::V2, "TCP6"));
}

#[test]
fn mapped_addresses_are_held_as_ipv4() {
    let mapped = |last: [u8; 4]| [&[0; 10][..], &[0xff, 0xff], &last].concat();
    let bytes = block(
        PROXY,
        TCP6,
        &[&mapped([192, 0, 2, 1]), &mapped([198, 51, 100, 7]), b"\x9c\x40\x01\xbb"],
    );
    assert_eq!(complete(&bytes).origin, proxied("192.0.2.1:40000", "198.51.100.7:443"));
}

#[test]
fn pp31_nothing_is_decoded_before_the_block_is_whole() {
    // The first TLV is too long for the header from its third byte on; the last byte decides.
    refused(&with_tlvs(&[b"\x01\xff\xff", &[0; 20]]), Reason::TlvOverrun, 28);
}
