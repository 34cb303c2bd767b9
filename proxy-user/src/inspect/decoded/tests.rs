//! Real headers and broken ones, with the very words in which they are reported.

use super::*;
use crate::header::samples::{self, IPV4_BLOCK, block, tlv, with_tlvs};

fn decoded(bytes: &[u8]) -> Decoded {
    Decoded::of(Input { bytes, more: false }, Limits::default())
}

fn lines(bytes: &[u8]) -> Vec<String> {
    decoded(bytes).to_string().lines().map(str::to_owned).collect()
}

/// The lines that tell of TLVs.
fn tlv_lines(fields: &[&[u8]]) -> Vec<String> {
    let all = lines(&with_tlvs(fields));
    let indented = |line: &&String| line.starts_with("tlv ") || line.starts_with("      ");
    all.iter().filter(indented).map(|line| line.trim_start_matches("tlv").trim().into()).collect()
}

#[test]
fn a_v1_header() {
    let bytes = b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 443\r\nGET / HTTP/1.0\r\n\r\n";
    assert_eq!(
        lines(bytes),
        [
            "version      v1",
            "command      PROXY",
            "transport    TCP4",
            "client       192.0.2.1:40000 → 198.51.100.7:443",
            "length       45 bytes",
            "checksum     absent",
            r#"payload      18 bytes: "GET / HTTP/1.0\r\n\r\n""#,
        ]
    );
}

#[test]
fn a_header_behind_an_aws_endpoint() {
    assert_eq!(
        lines(samples::AWS),
        [
            "version      v2",
            "command      PROXY",
            "transport    TCP4",
            "client       172.31.7.113:51442 → 172.31.10.31:80",
            "length       100 bytes",
            "tlv          0x03 CRC32C, 4 bytes: e8d6892d",
            "tlv          0xea AWS VPC endpoint, 23 bytes: vpce-08d2bf15fac5001c9",
            "tlv          0x04 NOOP, 36 bytes",
            "checksum     verified",
            "payload      0 bytes",
        ]
    );
}

#[test]
fn a_header_over_tls() {
    assert_eq!(
        lines(samples::HAPROXY_TLS)[5..],
        [
            "tlv          0x03 CRC32C, 4 bytes: b3f7ed26",
            r#"tlv          0x02 AUTHORITY, 15 bytes: "www.example.org""#,
            r#"tlv          0x05 UNIQUE_ID, 19 bytes: "foreword-test-11444""#,
            "tlv          0x20 SSL, 63 bytes: client 0x01, used TLS; verify 0",
            r#"               0x21 version, 7 bytes: "TLSv1.3""#,
            r#"               0x25 key algorithm, 7 bytes: "RSA2048""#,
            r#"               0x24 signature algorithm, 10 bytes: "RSA-SHA256""#,
            r#"               0x23 cipher, 22 bytes: "TLS_AES_256_GCM_SHA384""#,
            "checksum     verified",
            "payload      0 bytes",
        ]
    );
}

#[test]
fn what_other_clouds_say() {
    assert_eq!(
        tlv_lines(&[
            &tlv(0xee, b"\x01\x04\x03\x02\x01"),
            &tlv(0xe0, b"\x01\x02\x03\x04\x05\x06\x07\x08"),
            &tlv(0xe1, b"\x01vpc-2zes0k1m"),
            &tlv(0xe5, b"blue"),
            &tlv(0xf9, b"\x00\xff"),
            &tlv(0x05, b""),
        ]),
        [
            "0xee Azure private link, 5 bytes: link 16909060",
            "0xe0 Google PSC connection, 8 bytes: connection 72623859790382856",
            "0xe1 Alibaba private link, 13 bytes: VPC vpc-2zes0k1m",
            r#"0xe5 custom, 4 bytes: "blue""#,
            "0xf9 reserved for the future, 2 bytes: 00ff",
            "0x05 UNIQUE_ID, 0 bytes",
        ]
    );
}

#[test]
fn a_health_check_states_no_client() {
    let mut bytes = samples::AWS.to_vec();
    bytes[12] = 0x20;
    // The checksum is over the command too.
    assert_eq!(lines(&bytes)[0], "invalid      checksum-mismatch");
    bytes.splice(28..35, [0x04, 0, 4, 0, 0, 0, 0]);
    assert_eq!(
        lines(&bytes),
        [
            "version      v2",
            "command      LOCAL",
            "transport    LOCAL",
            "client       not stated: the connection's own addresses count",
            "length       100 bytes",
            "skipped      12 bytes, which are no TLVs",
            "tlv          0x04 NOOP, 4 bytes",
            "tlv          0xea AWS VPC endpoint, 23 bytes: vpce-08d2bf15fac5001c9",
            "tlv          0x04 NOOP, 36 bytes",
            "checksum     absent",
            "payload      0 bytes",
        ]
    );
}

#[test]
fn a_second_header_is_noticed() {
    let first = block(0x21, 0x11, &[IPV4_BLOCK]);
    let last_line = |payload: &[u8]| lines(&[&first, payload].concat()).pop().unwrap();
    let looks = |what| format!("             looks like a second header: {what}");
    assert_eq!(last_line(b"PROXY UNKNOWN\r\nx"), looks("v1, 15 bytes"));
    assert_eq!(last_line(b"PROXY UNK"), looks("v1, incomplete"));
    assert_eq!(last_line(b"PRO"), looks("perhaps its beginning"));
    assert_eq!(last_line(&samples::AWS[..14]), looks("v2, incomplete"));
    let invalid = last_line(b"PROXY SCTP\r\n");
    assert!(invalid.starts_with(&looks("v1, invalid: v1-protocol (pp09) at byte 6")), "{invalid}");
    assert_eq!(last_line(b"GET"), r#"payload      3 bytes: "GET""#);
}

#[test]
fn an_invalid_port() {
    assert_eq!(
        lines(b"PROXY TCP4 192.0.2.1 192.0.2.7 40000 +80\r\nGET"),
        [
            "invalid      v1-port",
            "rule         pp13",
            "offset       37",
            "expected     a number from 0 to 65535 without sign or leading zero",
            "",
            "0010  2e 32 2e 31 20 31 39 32 2e 30 2e 32 2e 37 20 34  .2.1 192.0.2.7 4",
            "0020  30 30 30 30 20 2b 38 30 0d 0a 47 45 54           0000 +80..GET",
            "                     ^^",
        ]
    );
}

#[test]
fn an_overrunning_tlv() {
    assert_eq!(
        lines(&with_tlvs(&[b"\xea\0\x09\x01vpce"])),
        [
            "invalid      tlv-overrun",
            "rule         pp34",
            "offset       28",
            "expected     a TLV's type, length and as many bytes, or the header's end",
            "",
            "0000  0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a 21 11 00 14  .......QUIT.!...",
            "0010  c0 00 02 01 c6 33 64 07 9c 40 01 bb ea 00 09 01  .....3d..@......",
            "                                          ^^",
        ]
    );
}

#[test]
fn a_limit_that_is_no_rule_of_the_protocol() {
    let bytes = block(0x21, 0x11, &[IPV4_BLOCK, &tlv(0x04, &[0; 5000])]);
    assert_eq!(
        lines(&bytes)[..2],
        ["invalid      header-too-long", "rule         none of the protocol's"]
    );
    let limits = Limits { max_header: Limits::HIGHEST_MAX, ..Limits::default() };
    let decoded = Decoded::of(Input { bytes: &bytes, more: false }, limits).to_string();
    let length =
        "length       5031 bytes, more than the 4096 that attach takes without --max-header";
    assert!(decoded.lines().any(|line| line == length), "{decoded}");
}

#[test]
fn a_beginning() {
    assert_eq!(
        lines(&samples::AWS[..20]),
        ["incomplete   20 bytes", "awaited      80 more bytes of a v2 header of 100"]
    );
    assert_eq!(lines(b""), ["incomplete   0 bytes", "awaited      a header's first byte"]);
}

#[test]
fn no_header() {
    assert_eq!(
        lines(b"PRO\x1b[2J"),
        [
            "no header    byte 3 fits neither version's signature",
            r#"payload      7 bytes: "PRO\x1b[2J""#,
        ]
    );
    assert_eq!(lines(b"x")[0], "no header    byte 0 fits neither version's signature");
}

#[test]
fn what_was_not_read_is_said() {
    let decoded =
        Decoded::of(Input { bytes: b"PROXY UNKNOWN\r\nab", more: true }, Limits::default());
    let last = decoded.to_string().lines().last().unwrap().to_owned();
    assert_eq!(last, r#"payload      2 bytes and more, which were not read: "ab""#);
}

#[test]
fn for_programs() {
    let json = serde_json::to_value(decoded(&with_tlvs(&[&tlv(0xea, b"\x01vpce-1")]))).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "outcome": "valid",
            "version": "v2",
            "command": "PROXY",
            "transport": "TCP4",
            "client": "192.0.2.1:40000",
            "destination": "198.51.100.7:443",
            "length": 38,
            "tlvs": [{
                "type": 0xea,
                "name": "AWS VPC endpoint",
                "length": 7,
                "meaning": "vpce-1",
                "value": "01767063652d31",
            }],
            "skipped": 0,
            "checksum": "absent",
            "payload": { "length": 0, "more": false, "preview": "" },
        })
    );
    let json = serde_json::to_value(decoded(b"PROXY tcp4\r\n")).unwrap();
    assert_eq!(
        (&json["outcome"], &json["rule"], &json["offset"]),
        (&"invalid".into(), &"pp09".into(), &6.into())
    );
    let json = serde_json::to_value(decoded(b"SSH-2.0")).unwrap();
    assert_eq!((&json["outcome"], &json["offset"]), (&"not-a-header".into(), &0.into()));
}
