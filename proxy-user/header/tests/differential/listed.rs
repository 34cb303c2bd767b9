//! Every way in which another decoder is known to disagree with ours, and the rule that settles it.

use std::borrow::Cow;
use std::fmt;

use proxy_common::Reason::{
    AuthorityText, ChecksumMismatch, NetnsText, SslTlv, SslVersion, TlvOverrun, UniqueIdTooLong,
    V1LineEnd, V1Port, V1TooLong,
};

use crate::answer::Library::{self, Ppp, ProxyProtocolRs};
use crate::answer::{Answer, ask_foreword};
use crate::disagreement::{Disagreement, Effect};
use crate::input::SIGNATURE;
use Effect::{Accepts, OtherTlvs, Refuses, RefusesEarly, WaitsAtTheEnd, WaitsForNothing};

/// A way to disagree.
pub struct Class {
    /// Who disagrees with us; with both at once, if it is both.
    pub libraries: &'static [Library],
    pub effect: Effect,
    /// What is special about the bytes.
    pub what: &'static str,
    /// Numbers in the conformance table, `pp08` to `pp48`.
    pub rules: &'static [u8],
    pub example: Example,
    /// Tells these disagreements from others of the same library and effect.
    pub holds: fn(&Disagreement) -> bool,
}

impl Class {
    /// Whether this disagreement is of this class.
    pub fn contains(&self, it: &Disagreement) -> bool {
        self.libraries.contains(&it.library) && it.effect == self.effect && (self.holds)(it)
    }
}

/// Bytes that show a disagreement.
pub enum Example {
    /// Of version 1, or neither.
    Text(&'static [u8]),
    /// Of version 2, from behind the signature on.
    Block(&'static [u8]),
    /// The TLVs of a PROXY header for TCP over IPv4.
    Tlvs(&'static [u8]),
    /// TLVs with a `UNIQUE_ID` of 129 bytes.
    LongId,
    /// A line that can no longer end in time.
    LongLine,
}

impl Example {
    pub fn bytes(&self) -> Cow<'static, [u8]> {
        let tcp4 = |tlvs: &[u8]| {
            let [high, low] = u16::try_from(12 + tlvs.len()).expect("a short one").to_be_bytes();
            let fixed = [0x21, 0x11, high, low];
            let addresses = b"\xc0\x00\x02\x01\xc6\x33\x64\x07\x9c\x40\x01\xbb";
            [SIGNATURE, &fixed, addresses, tlvs].concat().into()
        };
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Block(block) => [SIGNATURE, block].concat().into(),
            Self::Tlvs(tlvs) => tcp4(tlvs),
            Self::LongId => tcp4(&[&b"\x05\x00\x81"[..], &[b'x'; 129]].concat()),
            Self::LongLine => [&b"PROXY UNKNOWN "[..], &[b'x'; 92]].concat().into(),
        }
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |bytes: &[u8]| {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        };
        match self {
            Self::Text(text) => write!(f, "`{}`", text.escape_ascii()),
            Self::Block(block) => write!(f, "signature, `{}`", hex(block)),
            Self::Tlvs(tlvs) => write!(f, "TCP4, TLV `{}`", hex(tlvs)),
            Self::LongId => f.write_str("TCP4, TLV `05 00 81` and 129 bytes"),
            Self::LongLine => f.write_str("`PROXY UNKNOWN ` and 92 bytes"),
        }
    }
}

/// All of them. Each disagreement is of exactly one class, and each class occurs.
pub const LISTED: &[Class] = &[
    // Headers that we refuse, and it accepts.
    Class {
        libraries: &Library::ALL,
        effect: Accepts,
        what: "a port with a sign",
        rules: &[13],
        example: Example::Text(b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 +443\r\n"),
        holds: |it| it.reason == Some(V1Port) && has_field(it, |field| field.starts_with(b"+")),
    },
    Class {
        libraries: &[ProxyProtocolRs],
        effect: Accepts,
        what: "a port with a leading zero",
        rules: &[13],
        example: Example::Text(b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 0443\r\n"),
        holds: |it| it.reason == Some(V1Port) && !has_field(it, |field| field.starts_with(b"+")),
    },
    Class {
        libraries: &[Ppp],
        effect: Accepts,
        what: "an UNKNOWN line that ends in LF alone",
        rules: &[14],
        example: Example::Text(b"PROXY UNKNOWN \n"),
        holds: |it| it.reason == Some(V1LineEnd),
    },
    Class {
        libraries: &[ProxyProtocolRs],
        effect: Accepts,
        what: "a lone CR or LF in an UNKNOWN line",
        rules: &[14],
        example: Example::Text(b"PROXY UNKNOWN \n\r\n"),
        holds: |it| it.reason == Some(V1LineEnd),
    },
    Class {
        libraries: &[Ppp],
        effect: Accepts,
        what: "a TLV that runs over the end",
        rules: &[34],
        example: Example::Tlvs(b"\x04\x00\x05\x00"),
        holds: |it| it.reason == Some(TlvOverrun),
    },
    Class {
        libraries: &[Ppp],
        effect: Accepts,
        what: "a wrong, second or misshapen CRC32C",
        rules: &[35, 36],
        example: Example::Tlvs(b"\x03\x00\x04\x00\x00\x00\x00"),
        holds: |it| it.reason == Some(ChecksumMismatch),
    },
    Class {
        libraries: &[ProxyProtocolRs],
        effect: Accepts,
        what: "a wrong CRC32C in a LOCAL header",
        rules: &[36],
        example: Example::Block(
            b"\x20\x11\x00\x13\xc0\0\x02\x01\xc6\x33\x64\x07\x9c\x40\x01\xbb\x03\0\x04\0\0\0\0",
        ),
        holds: |it| it.reason == Some(ChecksumMismatch) && is_local(it),
    },
    Class {
        libraries: &[Ppp],
        effect: Accepts,
        what: "a UNIQUE_ID of more than 128 bytes",
        rules: &[38],
        example: Example::LongId,
        holds: |it| it.reason == Some(UniqueIdTooLong),
    },
    Class {
        libraries: &[Ppp],
        effect: Accepts,
        what: "an SSL field that is too short, or whose sub-TLVs run over its end",
        rules: &[39],
        example: Example::Tlvs(b"\x20\x00\x02\x01\x00"),
        holds: |it| it.reason == Some(SslTlv),
    },
    Class {
        libraries: &Library::ALL,
        effect: Accepts,
        what: "an SSL field that says TLS, and not which version",
        rules: &[40],
        example: Example::Tlvs(b"\x20\x00\x05\x01\x00\x00\x00\x00"),
        holds: |it| it.reason == Some(SslVersion),
    },
    Class {
        libraries: &Library::ALL,
        effect: Accepts,
        what: "an AUTHORITY that is not UTF-8, or a NETNS that is not US-ASCII",
        rules: &[41],
        example: Example::Tlvs(b"\x02\x00\x02\xff\xfe"),
        holds: |it| matches!(it.reason, Some(AuthorityText | NetnsText)),
    },
    // Headers that we accept, and it does not.
    Class {
        libraries: &[Ppp],
        effect: Refuses,
        what: "bytes behind UNKNOWN that are not UTF-8, or look like too many fields",
        rules: &[17],
        example: Example::Text(b"PROXY UNKNOWN \xff\r\n"),
        holds: is_line,
    },
    Class {
        libraries: &[Ppp],
        effect: WaitsAtTheEnd,
        what: "bytes behind UNKNOWN that look like many fields",
        rules: &[17],
        example: Example::Text(b"PROXY UNKNOWN a b c d \r\n"),
        holds: is_line,
    },
    Class {
        libraries: &[ProxyProtocolRs],
        effect: Refuses,
        what: "bytes behind UNKNOWN that are not UTF-8",
        rules: &[17],
        example: Example::Text(b"PROXY UNKNOWN \xff\r\n"),
        holds: is_line,
    },
    Class {
        libraries: &[Ppp],
        effect: Refuses,
        what: "LOCAL with a family that does not exist, or with less than its addresses",
        rules: &[23],
        example: Example::Block(b"\x20\x11\x00\x00"),
        holds: is_local,
    },
    Class {
        libraries: &[ProxyProtocolRs],
        effect: Refuses,
        what: "LOCAL whose bytes behind the length look like a CRC32C, and are none",
        rules: &[23],
        example: Example::Block(b"\x20\xff\x00\x07\x03\x00\x04\x00\x00\x00\x00"),
        holds: is_local,
    },
    Class {
        libraries: &[ProxyProtocolRs],
        effect: Refuses,
        what: "PROXY with an unspecified family",
        rules: &[26],
        example: Example::Block(b"\x21\x00\x00\x00"),
        holds: |it| !is_line(it) && !is_local(it) && family(it) >> 4 == 0,
    },
    Class {
        libraries: &[ProxyProtocolRs],
        effect: Refuses,
        what: "PROXY with an unspecified transport",
        rules: &[27],
        example: Example::Block(b"\x21\x10\x00\x0c\0\0\0\0\0\0\0\0\0\0\0\0"),
        holds: |it| !is_line(it) && !is_local(it) && family(it) >> 4 != 0,
    },
    // Beginnings that it gives up too early, or not early enough.
    Class {
        libraries: &[Ppp],
        effect: RefusesEarly,
        what: "a line that has come up to the space before the last port",
        rules: &[4],
        example: Example::Text(b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 "),
        holds: |it| is_line(it) && it.bytes.ends_with(b" ") && valid_with(it, b"1\r\n"),
    },
    Class {
        libraries: &[Ppp],
        effect: RefusesEarly,
        what: "a line that is not valid so far, or goes on with UNKNOWN",
        rules: &[16, 17],
        example: Example::Text(b"PROXY TCP4 192.0.2.999 198.51.100.7 40000 443"),
        holds: |it| is_line(it) && !(it.bytes.ends_with(b" ") && valid_with(it, b"1\r\n")),
    },
    Class {
        libraries: &[Ppp],
        effect: RefusesEarly,
        what: "LOCAL with a family that does not exist, or with less than its addresses",
        rules: &[23],
        example: Example::Block(b"\x20\x11\x00\x03"),
        holds: is_local,
    },
    Class {
        libraries: &[Ppp],
        effect: WaitsForNothing,
        what: "a line whose CRLF is there, and a field is not",
        rules: &[8, 18],
        example: Example::Text(b"PROXY TCP4\r\n"),
        holds: |it| !is_block(it) && it.bytes.windows(2).any(|two| two == b"\r\n"),
    },
    Class {
        libraries: &[Ppp],
        effect: WaitsForNothing,
        what: "a lone CR or LF",
        rules: &[14, 18],
        example: Example::Text(b"PROXY TCP4\r "),
        holds: |it| it.reason == Some(V1LineEnd) && !it.bytes.windows(2).any(|two| two == b"\r\n"),
    },
    Class {
        libraries: &[ProxyProtocolRs],
        effect: WaitsForNothing,
        what: "a lone CR or LF",
        rules: &[14, 18],
        example: Example::Text(b"PROXY TCP4 192.0.2.1 198.51.100.7 40000 443\n"),
        holds: |it| it.reason == Some(V1LineEnd),
    },
    Class {
        libraries: &[ProxyProtocolRs],
        effect: WaitsForNothing,
        what: "fewer than 6 bytes that begin as v1 does, or 12 as v2 does, and go on otherwise",
        rules: &[32],
        example: Example::Text(b"POST"),
        holds: |it| it.reason.is_none(),
    },
    Class {
        libraries: &Library::ALL,
        effect: WaitsForNothing,
        what: "106 bytes of a line, the last one not CR",
        rules: &[15],
        example: Example::LongLine,
        holds: |it| it.reason == Some(V1TooLong),
    },
    Class {
        libraries: &Library::ALL,
        effect: WaitsForNothing,
        what: "fewer than 16 bytes of v2, the version, command or family wrong",
        rules: &[21, 22, 25, 32],
        example: Example::Block(b"\x31"),
        holds: |it| is_block(it) && it.bytes.len() < 16,
    },
    Class {
        libraries: &[ProxyProtocolRs],
        effect: WaitsForNothing,
        what: "a v2 block still to come, its family or its length wrong",
        rules: &[25, 29],
        example: Example::Block(b"\x21\x11\x00\x0b"),
        holds: |it| is_block(it) && it.bytes.len() >= 16,
    },
    // Headers that both accept.
    Class {
        libraries: &[Ppp],
        effect: OtherTlvs,
        what: "TLVs of a header without addresses: it shows none",
        rules: &[24, 26, 33],
        example: Example::Block(b"\x20\x00\x00\x03\x04\x00\x00"),
        holds: |it| family(it) >> 4 == 0,
    },
    Class {
        libraries: &[Ppp],
        effect: OtherTlvs,
        what: "LOCAL with a family, and a TLV that is not valid: it shows those in front of that",
        rules: &[23],
        example: Example::Block(b"\x20\x11\x00\x10\0\0\0\0\0\0\0\0\0\0\0\0\x04\x00\x00\x04"),
        holds: |it| family(it) >> 4 != 0 && is_local(it),
    },
    Class {
        libraries: &[ProxyProtocolRs],
        effect: OtherTlvs,
        what: "LOCAL with a family: it takes the addresses for TLVs",
        rules: &[23],
        example: Example::Block(b"\x20\x11\x00\x0f\x04\0\0\x04\0\0\x04\0\0\x04\0\0\x04\0\0"),
        holds: is_local,
    },
];

fn is_line(it: &Disagreement) -> bool {
    it.bytes.starts_with(b"PROXY ")
}

fn is_block(it: &Disagreement) -> bool {
    it.bytes.starts_with(SIGNATURE)
}

fn is_local(it: &Disagreement) -> bool {
    is_block(it) && it.bytes.get(12) == Some(&0x20)
}

/// The byte of family and transport; there must be one.
fn family(it: &Disagreement) -> u8 {
    it.bytes[13]
}

fn has_field(it: &Disagreement, is_it: fn(&[u8]) -> bool) -> bool {
    it.bytes.split(|byte| b" \r".contains(byte)).any(is_it)
}

/// Whether these bytes more would make a valid header of it.
fn valid_with(it: &Disagreement, more: &[u8]) -> bool {
    let (answer, _) = ask_foreword(&[&it.bytes, more].concat());
    matches!(answer, Answer::Accepts(_))
}
