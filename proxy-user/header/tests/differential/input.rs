//! The bytes that the decoders are asked about: headers of every kind, with now and then something
//! odd in them, damaged, cut short, or followed by payload.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

pub const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

const CRC32C: u8 = 0x03;

const SHORT: &str = "nothing here is that long";

/// Any of them.
pub fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let header = prop_oneof![2 => line(), 3 => block()].boxed();
    prop_oneof![
        40 => header.clone(),
        20 => damaged(header.clone()),
        20 => cut_short(header.clone()),
        10 => (header, payload()).prop_map(|(header, payload)| [header, payload].concat()),
        10 => beginning(),
        1 => long_line(),
    ]
}

/// One of the usual values, or rarely one of the odd ones.
fn mostly<T: std::fmt::Debug + Clone + 'static>(
    usual: impl Strategy<Value = T> + 'static,
    odd: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<T> {
    prop_oneof![14 => usual, 1 => odd].boxed()
}

/// One of these texts.
fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(texts).prop_map(str::to_owned)
}

/// A v1 line.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let prefix = mostly(one_of(&["PROXY"]), one_of(&["PROXy", "PROXYX", "proxy", " PROXY"]));
    let space = || mostly(one_of(&[" "]), one_of(&["  ", "\t", ""]));
    let end = mostly(
        one_of(&["\r\n"]),
        one_of(&["\n", "\r", " \r\n", " 1\r\n", "\r\r\n", "\0\r\n", "\n\r\n", "\rX\r\n"]),
    );
    let rest = prop_oneof![
        4 => proxied("TCP4", &ipv4(), &ipv6()),
        4 => proxied("TCP6", &ipv6(), &ipv4()),
        2 => unknown(),
        1 => one_of(&["TCP4", "TCP6", "TCP", "UNKNOWN6", "", "TCP4 1.2.3.4"]).prop_map(String::into_bytes),
    ];
    (prefix, space(), rest, end).prop_map(|(prefix, space, rest, end)| {
        [prefix.as_bytes(), space.as_bytes(), &rest, end.as_bytes()].concat()
    })
}

/// The fields of a connection, from the protocol to the second port.
fn proxied(
    protocol: &'static str,
    address: &BoxedStrategy<String>,
    other_family: &BoxedStrategy<String>,
) -> impl Strategy<Value = Vec<u8>> + use<> {
    let protocol = mostly(Just(protocol.to_owned()), one_of(&["TCP5", "tcp4", "TCP", "UDP4"]));
    let address = || mostly(address.clone(), other_family.clone());
    let port = || {
        mostly(
            any::<u16>().prop_map(|port| port.to_string()),
            one_of(&["0", "+80", "080", "00", "65536", "-1", "", "0x50", "8 0", "80a"]),
        )
    };
    let space = || mostly(one_of(&[" "]), one_of(&["  ", "\t", ""]));
    let fields =
        (protocol, space(), address(), space(), address(), space(), port(), space(), port());
    fields.prop_map(|(a, b, c, d, e, f, g, h, i)| [a, b, c, d, e, f, g, h, i].concat().into_bytes())
}

fn ipv4() -> BoxedStrategy<String> {
    mostly(
        any::<Ipv4Addr>().prop_map(|address| address.to_string()),
        one_of(&[
            "192.0.2.01",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.1.1",
            "192.0.2.+1",
            "0xc0000201",
        ]),
    )
}

fn ipv6() -> BoxedStrategy<String> {
    mostly(
        prop_oneof![
            any::<Ipv6Addr>().prop_map(|address| address.to_string()),
            one_of(&[
                "::",
                "::1",
                "2001:db8::1",
                "2001:DB8:0:0:0:0:0:1",
                "::ffff:c000:201",
                "::ffff:192.0.2.1",
                "64:ff9b::192.0.2.1",
            ]),
        ],
        one_of(&[
            "::ffff:192.0.2.01",
            "::192.0.2.1:1",
            "fe80::1%eth0",
            "1::2::3",
            "[::1]",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "12345::",
            ":::",
        ]),
    )
}

/// `UNKNOWN` and whatever may stand behind it.
fn unknown() -> impl Strategy<Value = Vec<u8>> {
    let rest = prop_oneof![
        one_of(&["", " ", " ::1 ::1 1 1", " a b c d", " a b c d e f g h", "X", "\t"])
            .prop_map(String::into_bytes),
        vec(any::<u8>(), 0..12).prop_map(|rest| [b" ", &rest[..]].concat()),
        (70..110usize).prop_map(|length| [b" ".to_vec(), vec![b'x'; length]].concat()),
    ];
    rest.prop_map(|rest| [b"UNKNOWN", &rest[..]].concat())
}

/// A v2 block.
fn block() -> impl Strategy<Value = Vec<u8>> {
    let command = mostly(prop_oneof![4 => Just(0x21), 1 => Just(0x20)], any::<u8>());
    let family = mostly(
        prop_oneof![
            4 => Just(0x11),
            4 => Just(0x21),
            1 => (0u8..=3, 0u8..=2).prop_map(|(family, transport)| family << 4 | transport),
        ],
        any::<u8>(),
    );
    let addresses =
        prop_oneof![Just(*b"\xc0\x00\x02\x01\xc6\x33\x64\x07\x9c\x40\x01\xbb"), any::<[u8; 12]>()];
    let checksum = prop_oneof![3 => Just(Checksum::None), 1 => Just(Checksum::Right), 1 => Just(Checksum::Second)];
    (command, family, addresses, vec(tlv(), 0..4), checksum, mostly(Just(0i16), -20..20i16))
        .prop_map(|(command, family, addresses, tlvs, checksum, error)| {
            let addresses = match family >> 4 {
                1 => addresses.to_vec(),
                2 => addresses.repeat(3),
                3 => addresses.repeat(18),
                _ => Vec::new(),
            };
            assemble(command, family, [addresses, tlvs.concat()].concat(), checksum, error)
        })
}

/// What a generated block has of checksums beside those that its TLVs may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checksum {
    None,
    Right,
    /// A right one, and one more.
    Second,
}

/// Puts a block together; its length is wrong by `error`.
fn assemble(command: u8, family: u8, mut rest: Vec<u8>, checksum: Checksum, error: i16) -> Vec<u8> {
    let field = |value: &[u8]| [&[CRC32C, 0, 4], value].concat();
    match checksum {
        Checksum::None => {}
        Checksum::Right => rest.extend(field(&[0; 4])),
        Checksum::Second => rest.extend([field(&[0; 4]), field(&[0; 4])].concat()),
    }
    let length = u16::try_from(rest.len()).expect(SHORT).saturating_add_signed(error);
    let mut block = [SIGNATURE, &[command, family], &length.to_be_bytes(), &rest].concat();
    if checksum != Checksum::None {
        let second = if checksum == Checksum::Second { 7 } else { 0 };
        let value_at = block.len() - 4 - second;
        let sum = crc32c::crc32c(&block);
        block[value_at..value_at + 4].copy_from_slice(&sum.to_be_bytes());
    }
    block
}

/// A TLV, mostly of a kind that means something, or bytes that are none.
fn tlv() -> impl Strategy<Value = Vec<u8>> {
    let text = |texts| one_of(texts).prop_map(String::into_bytes).boxed();
    let opaque = || vec(any::<u8>(), 0..12).boxed();
    let field = |kind: u8, value: BoxedStrategy<Vec<u8>>| {
        value
            .prop_map(move |value| {
                let length = u16::try_from(value.len()).expect(SHORT);
                [&[kind], &length.to_be_bytes()[..], &value].concat()
            })
            .boxed()
    };
    let not_utf8 = Just(b"\xff\xfe".to_vec());
    let unique_id = mostly(opaque(), vec(any::<u8>(), 129..132));
    let ssl = prop_oneof![
        Just(b"\x00\x00\x00\x00\x00".to_vec()),
        Just(b"\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3".to_vec()),
        Just(b"\x01\x00\x00\x00\x00".to_vec()),
        Just(b"\x00\x00\x00\x00\x00\x21\x00\x09TLSv1.3".to_vec()),
        Just(b"\x01\x00".to_vec()),
    ];
    prop_oneof![
        2 => field(0x01, opaque()),
        4 => field(0x02, mostly(text(&["example.org", ""]), not_utf8.clone())),
        1 => field(CRC32C, prop_oneof![vec(any::<u8>(), 4), opaque()].boxed()),
        2 => field(0x04, opaque()),
        2 => field(0x05, unique_id),
        2 => field(0x20, ssl.boxed()),
        4 => field(0x30, mostly(text(&["blue", ""]), not_utf8)),
        4 => field(0xEA, text(&["\u{1}vpce-08d2bf15fac5001c9"])),
        1 => vec(any::<u8>(), 1..6),
    ]
}

/// A few bytes changed, one gone or one more.
fn damaged(header: BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(&b" \r\n0+:.\0"[..])];
    (header, vec((any::<Index>(), byte, 0..4u8), 1..3)).prop_map(|(mut bytes, damages)| {
        for (at, byte, how) in damages {
            let at = at.index(bytes.len());
            match how {
                0 => bytes.insert(at, byte),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes[at] = byte,
            }
        }
        bytes
    })
}

/// Anywhere, or behind a space.
fn cut_short(header: BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (header, any::<Index>(), any::<bool>()).prop_map(|(mut bytes, at, behind_a_space)| {
        let mut end = at.index(bytes.len() + 1);
        if behind_a_space {
            let to_space = bytes[end..].iter().position(|byte| *byte == b' ');
            end += to_space.map_or(0, |distance| distance + 1);
        }
        bytes.truncate(end);
        bytes
    })
}

/// A line that is about as long as one may be, before its end.
fn long_line() -> impl Strategy<Value = Vec<u8>> {
    (100..110usize).prop_map(|length| {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(length, b'x');
        line
    })
}

/// The beginning of one signature, then something else.
fn beginning() -> impl Strategy<Value = Vec<u8>> {
    let signature = select(vec![b"PROXY ", SIGNATURE]);
    (signature, any::<Index>(), vec(any::<u8>(), 0..8)).prop_map(|(signature, end, rest)| {
        [&signature[..end.index(signature.len() + 1)], &rest].concat()
    })
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        Just(b"PROXY UNKNOWN\r\n".to_vec()),
        vec(any::<u8>(), 1..8),
    ]
}
