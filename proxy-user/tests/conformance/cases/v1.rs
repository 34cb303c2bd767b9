//! The text line, and what is true of both versions.

use std::net::{Ipv4Addr, Ipv6Addr};

use netlab::Family;
use netlab::header::named_headers;

use super::{Case, ends, named_ends};
use crate::answer::Ends;

/// A client's IPv6 address and a destination's, which the lines below name.
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x44, 0, 0, 0, 0, 1);

/// Longest v1 line in bytes, CRLF included.
const LONGEST: usize = 107;

pub fn cases(family: Family) -> Vec<Case> {
    [both_versions(family), fields(family), ipv4(), ipv6(), families(), ports(family), line(family)]
        .concat()
}

fn both_versions(family: Family) -> Vec<Case> {
    let [v1, v2] = named_headers(family);
    let named = named_ends(family);
    vec![
        Case::waits(1, "the first half of a v1 header", &v1[..v1.len() / 2]),
        Case::waits(1, "the first half of a v2 header", &v2[..v2.len() / 2]),
        Case::refused(1, "a request without a header", b""),
        Case::refused_at_once(2, "a request that begins with a P", b"POST / HTTP/1.1\r\n"),
        Case::named(4, "a v1 header", v1.clone(), named),
        Case::named(4, "a v2 header", v2.clone(), named),
        Case::named(45, "v1 where v2 is read", v1, named),
        Case::named(45, "v2 where v1 is read", v2, named),
    ]
}

fn fields(family: Family) -> Vec<Case> {
    let [v1, _] = named_headers(family);
    let line = String::from_utf8(v1).expect("a v1 header is text");
    let (protocol, other) = if family == Family::V4 { ("TCP4", "UDP4") } else { ("TCP6", "UDP6") };
    let instead = |new: &str| line.replacen(protocol, new, 1);
    vec![
        Case::refused(8, "`proxy` in lower case", line.replacen("PROXY", "proxy", 1)),
        Case::refused(8, "two spaces between fields", line.replacen(' ', "  ", 2)),
        Case::refused(8, "a tab between fields", line.replacen(" 443", "\t443", 1)),
        Case::refused(8, "a space at the end", line.replacen("\r\n", " \r\n", 1)),
        Case::refused(8, "a field too few", line.replacen(" 443", "", 1)),
        Case::refused(8, "a field too many", line.replacen("\r\n", " 1\r\n", 1)),
        Case::named(9, "the family's own protocol", line.as_str(), named_ends(family)),
        Case::refused(9, "the protocol in lower case", instead(&protocol.to_lowercase())),
        Case::refused(9, "`TCP5`", instead("TCP5")),
        Case::refused(9, "`UDP4` or `UDP6`", instead(other)),
    ]
}

fn ipv4() -> Vec<Case> {
    let line = |ip: &str| format!("PROXY TCP4 {ip} 192.0.2.44 40000 443\r\n");
    let from = |ip: [u8; 4]| ends((Ipv4Addr::from(ip), 40000), (Ipv4Addr::new(192, 0, 2, 44), 443));
    vec![
        Case::named(10, "0.0.0.0", line("0.0.0.0"), from([0; 4])),
        Case::named(10, "255.255.255.255", line("255.255.255.255"), from([255; 4])),
        Case::refused(10, "an octet of 256", line("198.51.100.256")),
        Case::refused(10, "an octet with a leading zero", line("198.51.100.07")),
        Case::refused(10, "three octets", line("198.51.100")),
        Case::refused(10, "five octets", line("198.51.100.7.1")),
        Case::refused(10, "an octet in hex", line("198.51.100.0x7")),
    ]
}

fn ipv6() -> Vec<Case> {
    let line = |ip: &str| format!("PROXY TCP6 {ip} 2001:db8:44::1 40000 443\r\n");
    let from = |ip: Ipv6Addr| ends((ip, 40000), (SERVER_V6, 443));
    let mapped = Ipv4Addr::new(198, 51, 100, 7).to_ipv6_mapped();
    vec![
        Case::named(11, "eight groups", line("2001:db8:0:0:0:0:0:7"), from(CLIENT_V6)),
        Case::named(11, "upper case and zeros", line("2001:0DB8::0007"), from(CLIENT_V6)),
        Case::named(11, "`::`", line("::"), from(Ipv6Addr::UNSPECIFIED)),
        Case::refused(11, "two `::`", line("2001::db8::7")),
        Case::refused(11, "seven groups", line("2001:db8:0:0:0:0:7")),
        Case::refused(11, "nine groups", line("2001:db8:0:0:0:0:0:0:7")),
        Case::refused(11, "five digits in a group", line("2001:00db8::7")),
        Case::refused(11, "a zone", line("fe80::7%eth0")),
        Case::named(11, "IPv4-mapped, in hex groups", line("::ffff:c633:6407"), from(mapped)),
        Case::named(
            11,
            "IPv4-mapped, with a dotted end",
            line("::ffff:198.51.100.7"),
            from(mapped),
        ),
        Case::named(11, "another dotted end", line("2001:db8::0.0.0.7"), from(CLIENT_V6)),
        Case::refused(11, "a dotted end with a leading zero", line("::ffff:198.51.100.07")),
        Case::refused(11, "a dotted end of three octets", line("::ffff:198.51.100")),
    ]
}

fn families() -> Vec<Case> {
    let line = |words: &str| format!("PROXY {words} 40000 443\r\n");
    vec![
        Case::refused(12, "TCP4 with IPv6 addresses", line("TCP4 2001:db8::7 2001:db8:44::1")),
        Case::refused(12, "TCP6 with IPv4 addresses", line("TCP6 198.51.100.7 192.0.2.44")),
        Case::refused(12, "TCP4 with an IPv6 destination", line("TCP4 198.51.100.7 2001:db8::7")),
        Case::refused(12, "TCP6 with an IPv4 destination", line("TCP6 2001:db8::7 192.0.2.44")),
    ]
}

fn ports(family: Family) -> Vec<Case> {
    let named @ Ends { client, destination } = named_ends(family);
    let protocol = if family == Family::V4 { "TCP4" } else { "TCP6" };
    let line = |port: &str| {
        format!("PROXY {protocol} {} {} {port} 443\r\n", client.ip(), destination.ip())
    };
    let from = |port: u16| Ends { client: (client.ip(), port).into(), ..named };
    vec![
        Case::named(13, "port 0", line("0"), from(0)),
        Case::named(13, "port 65535", line("65535"), from(65535)),
        Case::refused(13, "port 65536", line("65536")),
        Case::refused(13, "a leading zero", line("080")),
        Case::refused(13, "a plus sign", line("+80")),
        Case::refused(13, "a minus sign", line("-1")),
        Case::refused(13, "a letter", line("80a")),
    ]
}

fn line(family: Family) -> Vec<Case> {
    let [v1, _] = named_headers(family);
    let without_end = &v1[..v1.len() - 2];
    let ended = |end: &[u8]| [without_end, end].concat();
    let unknown = |length: usize| [b"PROXY UNKNOWN ".as_slice(), &vec![b'x'; length - 14]].concat();
    let longest = [unknown(LONGEST - 2).as_slice(), b"\r\n"].concat();
    let too_long = [unknown(LONGEST - 1).as_slice(), b"\r\n"].concat();
    vec![
        Case::refused(14, "LF alone", ended(b"\n")),
        Case::refused(14, "CR alone", ended(b"\r")),
        Case::refused(14, "LF CR", ended(b"\n\r")),
        Case::refused(14, "LF alone behind UNKNOWN", b"PROXY UNKNOWN\n"),
        Case::real(15, "107 bytes with CRLF", longest),
        Case::refused(15, "108 bytes with CRLF", too_long),
        Case::refused_at_once(15, "107 bytes without CRLF", unknown(LONGEST)),
        Case::refused_at_once(15, "106 bytes, the last one not CR", unknown(LONGEST - 1)),
        Case::waits(16, "a line up to its CR", ended(b"\r")),
        Case::waits(16, "a wrong address, and no CRLF yet", b"PROXY TCP4 198.51.100.999 192."),
        Case::real(17, "UNKNOWN", b"PROXY UNKNOWN\r\n"),
        Case::real(17, "UNKNOWN with addresses", b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"),
        Case::real(17, "UNKNOWN with bytes that are no text", b"PROXY UNKNOWN \xff\0 x\r\n"),
        Case::refused_at_once(18, "words for addresses", b"PROXY TCP4 a b c d\r\n"),
        Case::refused_at_once(18, "nothing behind the protocol", b"PROXY TCP6\r\n"),
    ]
}
