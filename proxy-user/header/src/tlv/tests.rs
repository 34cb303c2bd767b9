use super::super::golden::{self, complete, refused, tlv, tlvs_of, with_tlvs};
use super::*;

/// Where the first TLV of [`with_tlvs`] begins.
const FIRST: usize = 16 + 12;

/// A header with these TLVs and the right checksum behind them.
fn with_checksum(tlvs: &[&[u8]]) -> Vec<u8> {
    let sum = tlv(kind::CRC32C, &[0; 4]);
    let mut bytes = with_tlvs(&[tlvs, &[&sum[..]]].concat());
    let value_at = bytes.len() - 4;
    let sum = checksum(&bytes, value_at);
    bytes[value_at..].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn ssl(client: u8, verify: u32, fields: &[&[u8]]) -> Vec<u8> {
    tlv(kind::SSL, &[&[client], &verify.to_be_bytes()[..], &fields.concat()].concat())
}

#[test]
fn pp33_every_kind_that_is_not_ours_to_check_is_kept_in_order() {
    let known = [kind::AUTHORITY, kind::CRC32C, kind::UNIQUE_ID, kind::SSL, kind::NETNS];
    for kind in (0..=u8::MAX).filter(|kind| !known.contains(kind)) {
        let (odd, empty) = (tlv(kind, b"\xff\0\n"), tlv(kind, b""));
        let bytes = with_tlvs(&[&odd, &empty]);
        let expected = [Tlv { kind, value: b"\xff\0\n" }, Tlv { kind, value: b"" }];
        assert_eq!(tlvs_of(&bytes), expected);
    }
}

#[test]
fn pp34_an_overrun_or_trailing_bytes_are_refused() {
    for broken in [
        &b"\x01"[..],
        b"\x01\x00",
        b"\x01\x00\x01",
        b"\x01\x00\x03h2",
        b"\x01\xff\xff",
        b"\x04",
        b"\0",
        b"\0\0",
        b"\xea\x00\x17\x01vpce",
    ] {
        refused(&with_tlvs(&[broken]), Reason::TlvOverrun, FIRST);
        let alpn = tlv(kind::ALPN, b"h2");
        refused(&with_tlvs(&[&alpn, broken]), Reason::TlvOverrun, FIRST + alpn.len());
    }
}

#[test]
fn pp35_crc32c_is_the_one_of_rfc_3720() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
}

#[test]
fn pp35_the_checksum_covers_the_whole_header_with_its_field_zeroed() {
    // The sums are AWS's and HAProxy's own.
    assert_eq!(checksum(golden::AWS, FIRST + 3), 0xe8d6_892d);
    assert_eq!(checksum(golden::HAPROXY, FIRST + 3), 0x51e2_78c7);
    assert_eq!(checksum(golden::HAPROXY_TLS, FIRST + 3), 0xb3f7_ed26);
}

#[test]
fn pp36_any_changed_byte_behind_the_length_is_a_mismatch() {
    let bytes = with_checksum(&[&tlv(kind::ALPN, b"h2")]);
    complete(&bytes);
    for at in (16..FIRST).chain(FIRST + 3..FIRST + 5).chain(bytes.len() - 4..bytes.len()) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        refused(&changed, Reason::ChecksumMismatch, bytes.len() - 4);
    }
}

#[test]
fn pp36_a_checksum_of_another_length_is_a_mismatch() {
    for length in [0, 1, 3, 5, 8] {
        let sum = tlv(kind::CRC32C, &vec![0; length]);
        refused(&with_tlvs(&[&sum]), Reason::ChecksumMismatch, FIRST + 3);
    }
}

#[test]
fn pp36_a_second_checksum_is_a_mismatch() {
    let bytes = with_checksum(&[]);
    let second = tlv(kind::CRC32C, &[0; 4]);
    let mut twice = with_tlvs(&[&bytes[FIRST..], &second]);
    let sum = checksum(&twice, FIRST + 3);
    twice[FIRST + 3..FIRST + 7].copy_from_slice(&sum.to_be_bytes());
    refused(&twice, Reason::ChecksumMismatch, FIRST + 7 + 3);
    // Not because it is wrong, but because it is there.
    assert_eq!(checked(&twice, FIRST).unwrap_err().expected, "no second CRC32C");
}

#[test]
fn pp37_padding_may_be_anything_or_empty() {
    for value in [&b""[..], b"\0", b"\xff\xff", &[0; 300]] {
        complete(&with_tlvs(&[&tlv(kind::NOOP, value), &tlv(kind::NOOP, b"")]));
    }
}

#[test]
fn pp38_a_unique_id_has_at_most_128_bytes() {
    for length in [0, 1, 127, 128] {
        complete(&with_tlvs(&[&tlv(kind::UNIQUE_ID, &vec![0xff; length])]));
    }
    for length in [129, 300] {
        let id = tlv(kind::UNIQUE_ID, &vec![b'i'; length]);
        refused(&with_tlvs(&[&id]), Reason::UniqueIdTooLong, FIRST + 3);
    }
}

#[test]
fn pp39_ssl_is_client_verify_and_whole_fields() {
    for length in 0..5 {
        let short = tlv(kind::SSL, &vec![0; length]);
        refused(&with_tlvs(&[&short]), Reason::SslTlv, FIRST + 3);
    }
    for broken in [&b"\x21"[..], b"\x21\x00", b"\x21\x00\x08TLSv1.3"] {
        refused(&with_tlvs(&[&ssl(0, 1, &[broken])]), Reason::SslTlv, FIRST + 3);
    }
    let unknown = tlv(0x2f, b"later");
    complete(&with_tlvs(&[&ssl(0, 1, &[]), &ssl(0, 1, &[&unknown])]));
}

#[test]
fn pp39_the_parts_of_a_real_ssl_field() {
    let field = complete(golden::HAPROXY_TLS).tlvs.find(kind::SSL).unwrap();
    let ssl = Ssl::parse(field.value).unwrap();
    assert!(ssl.used_tls());
    assert_eq!((ssl.client, ssl.verify, ssl.is_verified()), (1, 0, false));
    let expected = [
        Tlv { kind: kind::SSL_VERSION, value: b"TLSv1.3" },
        Tlv { kind: kind::SSL_KEY_ALGORITHM, value: b"RSA2048" },
        Tlv { kind: kind::SSL_SIGNATURE_ALGORITHM, value: b"RSA-SHA256" },
        Tlv { kind: kind::SSL_CIPHER, value: b"TLS_AES_256_GCM_SHA384" },
    ];
    assert_eq!(ssl.fields.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn pp40_a_client_that_used_tls_comes_with_its_version() {
    let version = tlv(kind::SSL_VERSION, b"TLSv1.3");
    let cipher = tlv(kind::SSL_CIPHER, b"TLS_AES_128_GCM_SHA256");
    complete(&with_tlvs(&[&ssl(0x07, 0, &[&cipher, &version])]));
    refused(&with_tlvs(&[&ssl(0x01, 0, &[])]), Reason::SslVersion, FIRST + 3);
    refused(&with_tlvs(&[&ssl(0x07, 0, &[&cipher])]), Reason::SslVersion, FIRST + 3);
    complete(&with_tlvs(&[&ssl(0x06, 0, &[])]));
}

#[test]
fn pp41_authority_is_utf8_netns_is_ascii_alpn_is_opaque() {
    for text in ["", "example.org", "пример.испытание"] {
        complete(&with_tlvs(&[&tlv(kind::AUTHORITY, text.as_bytes())]));
    }
    for bytes in [&b"\xff"[..], b"example.org\xc3", b"\xed\xa0\x80", b"\xc0\xaf"] {
        let authority = tlv(kind::AUTHORITY, bytes);
        refused(&with_tlvs(&[&authority]), Reason::AuthorityText, FIRST + 3);
    }

    complete(&with_tlvs(&[&tlv(kind::NETNS, b"/run/netns/blue")]));
    refused(&with_tlvs(&[&tlv(kind::NETNS, "blå".as_bytes())]), Reason::NetnsText, FIRST + 3);

    complete(&with_tlvs(&[&tlv(kind::ALPN, b"\xff\xfe")]));
}

#[test]
fn the_first_fault_in_the_header_is_the_one_reported() {
    let (id, netns) = (tlv(kind::UNIQUE_ID, &[0; 129]), tlv(kind::NETNS, b"\xff"));
    refused(&with_tlvs(&[&id, &netns]), Reason::UniqueIdTooLong, FIRST + 3);
    refused(&with_tlvs(&[&netns, &id]), Reason::NetnsText, FIRST + 3);
}

#[test]
fn walking_says_where_whole_fields_end() {
    assert_eq!(Tlvs::parse(b"\x01\x00\x02h2\x04\x00"), Err(Overrun { whole: 5 }));
    assert_eq!(Tlvs::parse(b"\x01\x00\x02h2").unwrap().as_bytes(), b"\x01\x00\x02h2");
    assert!(Tlvs::parse(b"").unwrap().is_empty());
}
