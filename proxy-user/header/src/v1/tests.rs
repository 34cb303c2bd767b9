use super::super::golden::{complete, proxied, refused};
use super::*;

/// The line with these words behind `PROXY `, and CRLF.
fn line(words: &str) -> Vec<u8> {
    [b"PROXY ", words.as_bytes(), b"\r\n"].concat()
}

fn origin(words: &str) -> Origin {
    let bytes = line(words);
    let header = complete(&bytes);
    assert_eq!(header.version, Version::V1);
    assert!(header.tlvs.is_empty());
    header.origin
}

/// Refused when the line is complete; `at` is the text that the offset points to.
fn faulty(words: &str, reason: Reason, at: &str) {
    let offset = SIGNATURE.len() + words.find(at).unwrap();
    refused(&line(words), reason, offset);
}

#[test]
fn lines_of_each_kind() {
    assert_eq!(
        origin("TCP4 192.0.2.1 198.51.100.7 40000 443"),
        proxied("192.0.2.1:40000", "198.51.100.7:443")
    );
    assert_eq!(
        origin("TCP6 2001:db8::1 2001:db8::2 40000 443"),
        proxied("[2001:db8::1]:40000", "[2001:db8::2]:443")
    );
    assert_eq!(origin("UNKNOWN"), Origin::Unknown);
}

#[test]
fn mapped_addresses_are_held_as_ipv4() {
    let mapped = "TCP6 ::ffff:c000:201 0:0:0:0:0:FFFF:c633:6407 40000 443";
    assert_eq!(origin(mapped), proxied("192.0.2.1:40000", "198.51.100.7:443"));
}

#[test]
fn pp08_one_space_between_fields_and_none_at_the_end() {
    let fields = Reason::V1Fields;
    refused(b"PROXY \r\n", fields, 6);
    refused(b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", fields, 6);
    refused(b"PROXY TCP4\r\n", fields, 10);
    refused(b"PROXY TCP4 \r\n", fields, 11);
    refused(b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", fields, 11);
    refused(b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", fields, 21);
    refused(b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", fields, 32);
    refused(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n", fields, 33);
    refused(b"PROXY TCP4 192.0.2.1 192.0.2.2 1  2\r\n", fields, 33);
    refused(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", fields, 34);
    refused(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", fields, 34);
    faulty("TCP4\t192.0.2.1 192.0.2.2 1 2", Reason::V1Protocol, "TCP4");
    faulty("TCP4 192.0.2.1\t192.0.2.2 1 2", Reason::V1Ipv4, "192");
}

#[test]
fn pp09_three_protocols_and_no_other() {
    for protocol in ["TCP", "TCP5", "tcp4", "TCP44", "UDP4", "unknown", "UNKNOWNS", "TCP4,", "\0"] {
        faulty(&format!("{protocol} 192.0.2.1 192.0.2.2 1 2"), Reason::V1Protocol, protocol);
    }
    faulty("UNKNOWNS", Reason::V1Protocol, "UNKNOWNS");
}

#[test]
fn pp10_ipv4_is_four_canonical_octets() {
    assert_eq!(
        origin("TCP4 0.0.0.0 255.255.255.255 1 2"),
        proxied("0.0.0.0:1", "255.255.255.255:2")
    );
    for address in [
        "192.0.2",
        "192.0.2.1.1",
        "192.0.2.",
        ".192.0.2",
        "192..2.1",
        "256.0.0.1",
        "192.0.2.01",
        "00.0.0.0",
        "192.0.2.+1",
        "192.0.2.-1",
        "192.0.2.0x1",
        "3221225985",
        "192.0.2.1/32",
        "192.0.2.1:80",
        "a.b.c.d",
        "192.0.2.1000",
        "192.0.2.99999999999",
        "localhost",
        "192.0.2.\u{661}",
    ] {
        faulty(&format!("TCP4 {address} 198.51.100.7 1 2"), Reason::V1Ipv4, address);
        faulty(
            &format!("TCP4 198.51.100.7 {address} 1 2"),
            Reason::V1Ipv4,
            &format!("{address} 1 2"),
        );
    }
}

#[test]
fn pp11_ipv6_is_hex_groups_of_128_bits() {
    for (text, meaning) in [
        ("::", "::"),
        ("::1", "::1"),
        ("1::", "1::"),
        ("2001:DB8:0000::00a", "2001:db8::a"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("fe80::1", "fe80::1"),
    ] {
        let expected = proxied(&format!("[{meaning}]:1"), "[::2]:2");
        assert_eq!(origin(&format!("TCP6 {text} ::2 1 2")), expected);
    }
    for address in [
        ":",
        ":::",
        "1::2::3",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::",
        "12345::",
        ":1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:",
        "fe80::1%eth0",
        "[::9]",
        "::g",
        "::-9",
        "::9/128",
        "2001:db8",
        "::\u{661}",
    ] {
        faulty(&format!("TCP6 {address} 2::2 1 2"), Reason::V1Ipv6, address);
        faulty(&format!("TCP6 2::2 {address} 1 2"), Reason::V1Ipv6, &format!("{address} 1 2"));
    }
}

/// HAProxy and nginx write the clients of a dual-stack listener so: they are IPv4 clients, each
/// address by itself.
#[test]
fn pp11_a_mapped_address_with_a_dotted_end_is_the_ipv4_one() {
    let (client, destination) = ("::ffff:192.0.2.1", "::ffff:198.51.100.7");
    for (text, meaning) in [
        (format!("{client} {destination}"), proxied("192.0.2.1:1", "198.51.100.7:2")),
        (format!("{client} 2001:db8::2"), proxied("192.0.2.1:1", "[2001:db8::2]:2")),
        (format!("2001:db8::2 {destination}"), proxied("[2001:db8::2]:1", "198.51.100.7:2")),
        (format!("{client} ::FFFF:c633:6407"), proxied("192.0.2.1:1", "198.51.100.7:2")),
    ] {
        assert_eq!(origin(&format!("TCP6 {text} 1 2")), meaning, "{text}");
    }
}

#[test]
fn pp11_a_dotted_end_has_the_place_of_two_groups() {
    for (text, meaning) in [
        ("::192.0.2.1", "::c000:201"),
        ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
        ("1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:c000:201"),
        ("0:0:0:0:0:fffe:255.255.255.255", "::fffe:ffff:ffff"),
    ] {
        let expected = proxied(&format!("[{meaning}]:1"), "[2001:db8::2]:2");
        assert_eq!(origin(&format!("TCP6 {text} 2001:db8::2 1 2")), expected, "{text}");
    }
    for address in [
        "::ffff:192.0.2.01",
        "::ffff:192.0.2.256",
        "::ffff:192.0.2",
        "::ffff:192.0.2.1.1",
        "::ffff:192.0.2.1:1",
        "::192.0.2.1:ffff",
        "1:2:3:4:5:192.0.2.1",
        "1:2:3:4:5:6:7:192.0.2.1",
        "::ffff:0x1.0.2.1",
        "::ffff:192.0.2.1%eth0",
        "192.0.2.1::",
        ":192.0.2.1",
        "::.",
    ] {
        faulty(&format!("TCP6 {address} 2::2 1 2"), Reason::V1Ipv6, address);
        faulty(&format!("TCP6 2::2 {address} 1 2"), Reason::V1Ipv6, &format!("{address} 1 2"));
    }
}

#[test]
fn pp12_both_addresses_are_of_the_named_family() {
    faulty("TCP4 2001:db8::1 192.0.2.2 1 2", Reason::V1Family, "2001");
    faulty("TCP4 192.0.2.1 2001:db8::2 1 2", Reason::V1Family, "2001");
    faulty("TCP4 ::ffff:192.0.2.1 192.0.2.2 1 2", Reason::V1Family, "::ffff");
    faulty("TCP6 192.0.2.1 2001:db8::2 1 2", Reason::V1Family, "192");
    faulty("TCP6 2001:db8::1 192.0.2.2 1 2", Reason::V1Family, "192");
}

#[test]
fn pp13_ports_are_canonical_numbers_of_16_bits() {
    assert_eq!(
        origin("TCP4 192.0.2.1 192.0.2.2 0 65535"),
        proxied("192.0.2.1:0", "192.0.2.2:65535")
    );
    for port in [
        "+80",
        "-80",
        "080",
        "00",
        "65536",
        "99999",
        "4294967376",
        "99999999999999999999",
        "8O",
        "0x50",
        "http",
        "80.",
        "80,",
        "\u{668}",
    ] {
        faulty(&format!("TCP4 192.0.2.1 192.0.2.2 {port} 2"), Reason::V1Port, port);
        faulty(&format!("TCP6 ::1 ::2 2 {port}"), Reason::V1Port, port);
    }
}

#[test]
fn pp14_a_cr_or_lf_alone_is_refused_at_once() {
    refused(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", Reason::V1LineEnd, 34);
    refused(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rG", Reason::V1LineEnd, 35);
    refused(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r", Reason::V1LineEnd, 35);
    refused(b"PROXY \n", Reason::V1LineEnd, 6);
    refused(b"PROXY TCP4\r ", Reason::V1LineEnd, 11);
    refused(b"PROXY UNKNOWN whatever\n", Reason::V1LineEnd, 22);
}

#[test]
fn pp15_crlf_within_107_bytes() {
    let longest = "TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535";
    assert_eq!(line(longest).len(), 104);
    let end = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    assert_eq!(origin(longest), proxied(&end.replacen("ffff]", "fffe]", 1), end));

    let unknown = format!("UNKNOWN{}", " ".repeat(MAX_LINE - 15));
    assert_eq!(line(&unknown).len(), MAX_LINE);
    assert_eq!(origin(&unknown), Origin::Unknown);
}

#[test]
fn pp15_a_line_is_given_up_when_crlf_can_no_longer_come() {
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; MAX_LINE]].concat();
    refused(&endless[..MAX_LINE - 1], Reason::V1TooLong, MAX_LINE - 2);

    let mut late = endless[..MAX_LINE].to_vec();
    late[MAX_LINE - 2] = b'\r';
    refused(&late, Reason::V1LineEnd, MAX_LINE - 1);
}

#[test]
fn pp16_nothing_is_decoded_before_crlf() {
    // Every helper asserts this of its bytes; here with a fault that could be seen long before.
    faulty("SMTP x y z", Reason::V1Protocol, "SMTP");
    faulty("TCP4 999.0.2.1 192.0.2.2 1 2", Reason::V1Ipv4, "999");
}

#[test]
fn pp17_the_rest_of_an_unknown_line_is_ignored() {
    for rest in [" ", " ffff::1 ffff::2 65535 65535", "  two", " TCP4 \0\u{7f}", " PROXY TCP4"] {
        assert_eq!(origin(&format!("UNKNOWN{rest}")), Origin::Unknown);
    }
    let not_text = b"PROXY UNKNOWN \xff\xfe\x80\r\n";
    assert_eq!(complete(not_text).origin, Origin::Unknown);
}

#[test]
fn pp18_a_byte_that_is_no_text_is_refused() {
    refused(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 \xff\r\n", Reason::V1Port, 33);
    refused(b"PROXY TCP6 ::\xff ::2 1 2\r\n", Reason::V1Ipv6, 11);
    refused(b"PROXY \xff\xff\r\n", Reason::V1Protocol, 6);
}
