use super::super::super::golden;
use super::super::super::golden::complete;
use super::*;

fn described(kind: u8, value: &[u8]) -> String {
    describe(Tlv { kind, value }).to_string()
}

#[test]
fn pp42_ranges_have_names() {
    for (kind, name) in [
        (0x00, "unassigned"),
        (0x06, "unassigned"),
        (0x21, "unassigned"),
        (0xdf, "unassigned"),
        (0xe0, "Google PSC connection"),
        (0xe2, "custom"),
        (0xef, "custom"),
        (0xf0, "experimental"),
        (0xf7, "experimental"),
        (0xf8, "reserved for the future"),
        (0xff, "reserved for the future"),
    ] {
        assert_eq!(kind_name(kind), name, "{kind:#04x}");
    }
}

#[test]
fn vendors_fields_are_decoded() {
    let parse = |kind, value| Vendor::parse(Tlv { kind, value });
    let aws = Vendor::AwsVpcEndpoint("vpce-08d2bf15fac5001c9");
    assert_eq!(parse(0xea, b"\x01vpce-08d2bf15fac5001c9"), Some(aws));
    let azure = Vendor::AzurePrivateLink(0x0102_0304);
    assert_eq!(parse(0xee, b"\x01\x04\x03\x02\x01"), Some(azure));
    let google = Vendor::GooglePscConnection(0x0102_0304_0506_0708);
    assert_eq!(parse(0xe0, b"\x01\x02\x03\x04\x05\x06\x07\x08"), Some(google));
    for (value, meaning, words) in [
        (&b"\x01vpc-2ze0"[..], Vendor::AlibabaVpc("vpc-2ze0"), "VPC vpc-2ze0"),
        (b"\x02ep-hp33", Vendor::AlibabaEndpoint("ep-hp33"), "endpoint ep-hp33"),
        (
            b"\x03epsrv-hp3v",
            Vendor::AlibabaEndpointService("epsrv-hp3v"),
            "endpoint service epsrv-hp3v",
        ),
    ] {
        assert_eq!(parse(0xe1, value), Some(meaning));
        assert_eq!(meaning.to_string(), words);
    }
}

#[test]
fn another_shape_is_no_vendors() {
    for (kind, value) in [
        (0xea, &b""[..]),
        (0xea, b"\x01"),
        (0xea, b"\x02vpce-1"),
        (0xea, b"\x01\xff"),
        (0xee, b"\x01\x04\x03\x02"),
        (0xee, b"\x02\x04\x03\x02\x01"),
        (0xe0, b"\x01\x02\x03\x04"),
        (0xe1, b"\x01two words"),
        (0xe1, b"\x02"),
        (0xe1, b"\x04ep-hp33"),
        (0x01, b"\x01vpce-1"),
    ] {
        assert_eq!(Vendor::parse(Tlv { kind, value }), None, "{kind:#04x} {value:x?}");
    }
}

#[test]
fn fields_in_words() {
    assert_eq!(described(0x01, b"h2"), r#"0x01 ALPN, 2 bytes: "h2""#);
    assert_eq!(described(0x02, b"example.org"), r#"0x02 AUTHORITY, 11 bytes: "example.org""#);
    assert_eq!(described(0x03, b"\xe8\xd6\x89\x2d"), "0x03 CRC32C, 4 bytes: e8d6892d");
    assert_eq!(described(0x04, &[0; 36]), "0x04 NOOP, 36 bytes");
    assert_eq!(described(0x04, b""), "0x04 NOOP, 0 bytes");
    assert_eq!(described(0x05, b"\xff"), "0x05 UNIQUE_ID, 1 byte: ff");
    assert_eq!(described(0xee, b"\x01\x07\0\0\0"), "0xee Azure private link, 5 bytes: link 7");
    assert_eq!(described(0xe5, b"blue"), r#"0xe5 custom, 4 bytes: "blue""#);
    assert_eq!(described(0x20, b"\x01"), "0x20 SSL, 1 byte: 01");
    assert_eq!(
        described(0xf1, &[0xff; 65]),
        format!("0xf1 experimental, 65 bytes: {}…", "ff".repeat(64))
    );
}

#[test]
fn no_control_character_reaches_a_terminal() {
    assert_eq!(described(0x02, b"\x1b[2J"), "0x02 AUTHORITY, 4 bytes: 1b5b324a");
    let override_direction = "\u{202e}gro".as_bytes();
    assert_eq!(described(0x02, override_direction), r#"0x02 AUTHORITY, 6 bytes: "\u{202e}gro""#);
}

/// What the edition of 2026 has added: 0x26, 0x27 and 0x28.
#[test]
fn pp46_the_newer_ssl_fields_in_words() {
    let inside = [
        golden::tlv(kind::SSL_VERSION, b"TLSv1.3"),
        golden::tlv(kind::SSL_GROUP, b"X25519MLKEM768"),
        golden::tlv(kind::SSL_SIGNATURE_SCHEME, b"rsa_pss_rsae_sha256"),
        golden::tlv(kind::SSL_CLIENT_CERTIFICATE, b"0\x03abc"),
        golden::tlv(kind::SSL_CLIENT_CERTIFICATE, b"0text"),
    ];
    let value = [&b"\x07\0\0\0\0"[..], &inside.concat()].concat();
    assert_eq!(
        described(kind::SSL, &value),
        format!(
            "0x20 SSL, {} bytes: client 0x07, used TLS, certificate on this connection, certificate \
             in this session; verify 0 (certificate verified); 0x21 version, 7 bytes: \"TLSv1.3\"; \
             0x26 group, 14 bytes: \"X25519MLKEM768\"; \
             0x27 signature scheme, 19 bytes: \"rsa_pss_rsae_sha256\"; \
             0x28 client certificate, 5 bytes: 3003616263; \
             0x28 client certificate, 5 bytes: 3074657874",
            value.len()
        )
    );
}

#[test]
fn a_real_ssl_field_in_words() {
    let field = complete(golden::HAPROXY_TLS).tlvs.find(kind::SSL).unwrap();
    assert_eq!(
        describe(field).to_string(),
        "0x20 SSL, 63 bytes: client 0x01, used TLS; verify 0; \
         0x21 version, 7 bytes: \"TLSv1.3\"; 0x25 key algorithm, 7 bytes: \"RSA2048\"; \
         0x24 signature algorithm, 10 bytes: \"RSA-SHA256\"; \
         0x23 cipher, 22 bytes: \"TLS_AES_256_GCM_SHA384\""
    );
}

#[test]
fn pp40_verified_is_said_of_a_certificate_only() {
    let verified = described(0x20, b"\x06\0\0\0\0");
    assert!(verified.ends_with("verify 0 (certificate verified)"), "{verified}");
    let not_verified = described(0x20, b"\x06\0\0\0\x13");
    assert!(not_verified.ends_with("certificate in this session; verify 19"), "{not_verified}");
}

#[test]
fn a_value_alone_leaves_the_fields_inside_out() {
    let field = complete(golden::HAPROXY_TLS).tlvs.find(kind::SSL).unwrap();
    assert_eq!(meaning(field).to_string(), "client 0x01, used TLS; verify 0");
    let inner = Ssl::parse(field.value).unwrap().fields.find(kind::SSL_VERSION).unwrap();
    assert_eq!(ssl_meaning(inner).to_string(), r#""TLSv1.3""#);
    assert_eq!(meaning(Tlv { kind: kind::NOOP, value: b"padding" }).to_string(), "");
}

/// Thousands of SSL fields one inside the other would be as many stack frames.
#[test]
fn ssl_does_not_nest() {
    let inner = golden::tlv(kind::SSL, b"\0\0\0\0\0");
    let outer = [b"\0\0\0\0\0", &inner[..]].concat();
    assert_eq!(
        described(kind::SSL, &outer),
        "0x20 SSL, 13 bytes: client 0x00; verify 0; 0x20 unassigned, 5 bytes: 0000000000"
    );
}
