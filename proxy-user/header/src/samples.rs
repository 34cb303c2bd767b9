//! Headers as other senders write them, and headers made of parts, for tests.

use crate::v2;

/// An AWS load balancer's header behind a VPC endpoint, as in AWS's documentation: 0x03, 0xEA and
/// 36 bytes of padding.
pub const AWS: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x54\
    \xac\x1f\x07\x71\xac\x1f\x0a\x1f\xc8\xf2\x00\x50\
    \x03\x00\x04\xe8\xd6\x89\x2d\
    \xea\x00\x17\x01vpce-08d2bf15fac5001c9\
    \x04\x00\x24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// HAProxy 2.6 with `crc32c,unique-id`.
pub const HAPROXY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x31\
    \x7f\x00\x00\x01\x7f\x00\x00\x01\xdb\x50\x46\xa0\
    \x03\x00\x04\x51\xe2\x78\xc7\
    \x05\x00\x13foreword-test-11444\
    \x20\x00\x05\x00\x00\x00\x00\x00";

/// HAProxy 2.6 with `ssl,ssl-cipher,cert-sig,cert-key,crc32c,unique-id,authority` over TLS.
pub const HAPROXY_TLS: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x7d\
    \x7f\x00\x00\x01\x7f\x00\x00\x01\xea\x10\x48\x0b\
    \x03\x00\x04\xb3\xf7\xed\x26\
    \x02\x00\x0fwww.example.org\
    \x05\x00\x13foreword-test-11444\
    \x20\x00\x3f\x01\x00\x00\x00\x00\
    \x21\x00\x07TLSv1.3\x25\x00\x07RSA2048\x24\x00\x0aRSA-SHA256\
    \x23\x00\x16TLS_AES_256_GCM_SHA384";

/// A v2 header of these parts, its length counted.
pub fn block(command: u8, family: u8, rest: &[&[u8]]) -> Vec<u8> {
    let rest = rest.concat();
    let length = u16::try_from(rest.len()).expect("a test's bytes are few");
    [v2::SIGNATURE, &[command, family], &length.to_be_bytes(), &rest].concat()
}

/// 192.0.2.1 port 40000 to 198.51.100.7 port 443.
pub const IPV4_BLOCK: &[u8] = b"\xc0\x00\x02\x01\xc6\x33\x64\x07\x9c\x40\x01\xbb";

/// `2001:db8::1` port 40000 to `2001:db8::2` port 443.
pub const IPV6_BLOCK: &[u8] = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\
    \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x9c\x40\x01\xbb";

/// A TCP over IPv4 header with these TLVs.
pub fn with_tlvs(tlvs: &[&[u8]]) -> Vec<u8> {
    block(v2::PROXY, v2::TCP4, &[&[IPV4_BLOCK], tlvs].concat())
}

/// One TLV as bytes.
pub fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a test's bytes are few");
    [&[kind], &length.to_be_bytes()[..], value].concat()
}
