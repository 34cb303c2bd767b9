//! Type-length-value fields behind a valid TCP address block.

use netlab::Family;
use netlab::header::v2_with_tlvs;

use super::{Case, named_ends};
use crate::answer::Ends;

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const NOOP: u8 = 0x04;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_GROUP: u8 = 0x26;
const SSL_SIGNATURE_SCHEME: u8 = 0x27;
const SSL_CLIENT_CERTIFICATE: u8 = 0x28;
const NETNS: u8 = 0x30;

pub fn cases(family: Family) -> Vec<Case> {
    let behind = Behind(named_ends(family));
    [
        behind.framing(),
        behind.checksums(),
        behind.known(),
        behind.ssl(),
        behind.newer(),
        behind.ranges(),
    ]
    .concat()
}

/// One field.
fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a value is shorter than 64 KiB");
    [&[kind], &length.to_be_bytes()[..], value].concat()
}

/// The ends of the header that the fields stand behind.
struct Behind(Ends);

impl Behind {
    fn header(&self, tlvs: &[u8]) -> Vec<u8> {
        v2_with_tlvs(self.0.client, self.0.destination, tlvs)
    }

    fn accepted(&self, rule: u8, name: &'static str, tlvs: &[u8]) -> Case {
        Case::named(rule, name, self.header(tlvs), self.0).passing_on(tlvs)
    }

    /// Accepted, but of use to nobody behind the receiver.
    fn used_up(&self, rule: u8, name: &'static str, tlvs: &[u8]) -> Case {
        self.accepted(rule, name, tlvs).passing_on(&[])
    }

    fn refused(&self, rule: u8, name: &'static str, tlvs: &[u8]) -> Case {
        Case::refused(rule, name, self.header(tlvs))
    }

    fn framing(&self) -> Vec<Case> {
        let two = [tlv(0x7e, b"first"), tlv(0x7e, b"second")].concat();
        vec![
            self.accepted(33, "a type that nobody knows", &tlv(0x7f, b"value")),
            self.accepted(33, "a type without a value", &tlv(0x7f, b"")),
            self.accepted(33, "a type twice", &two),
            self.refused(34, "a value that runs over the end", &[0x7f, 0, 5, 1, 2]),
            self.refused(34, "one trailing byte", &[0x7f]),
            self.refused(34, "two trailing bytes", &[0x7f, 0]),
        ]
    }

    fn checksums(&self) -> Vec<Case> {
        let zeroed = self.header(&tlv(CRC32C, &[0; 4]));
        let right = crc32c::crc32c(&zeroed);
        let not_last = |value: u32| [tlv(CRC32C, &value.to_be_bytes()), tlv(NOOP, b"")].concat();
        let right_not_last = crc32c::crc32c(&self.header(&not_last(0)));
        vec![
            self.used_up(35, "the right checksum", &tlv(CRC32C, &right.to_be_bytes())),
            self.used_up(35, "the right one, a field behind it", &not_last(right_not_last)),
            self.refused(36, "a wrong checksum", &tlv(CRC32C, &(!right).to_be_bytes())),
            self.refused(36, "the bytes in the other order", &tlv(CRC32C, &right.to_le_bytes())),
            self.refused(36, "a checksum of three bytes", &tlv(CRC32C, &right.to_be_bytes()[..3])),
        ]
    }

    fn known(&self) -> Vec<Case> {
        vec![
            self.used_up(37, "NOOP without a value", &tlv(NOOP, b"")),
            self.used_up(37, "NOOP with a value", &tlv(NOOP, &[0xff; 3])),
            self.accepted(38, "128 bytes", &tlv(UNIQUE_ID, &[b'u'; 128])),
            self.refused(38, "129 bytes", &tlv(UNIQUE_ID, &[b'u'; 129])),
            self.accepted(
                41,
                "an authority in UTF-8",
                &tlv(AUTHORITY, "bücher.example".as_bytes()),
            ),
            self.refused(41, "an authority that is none", &tlv(AUTHORITY, b"\xff\xfe")),
            self.accepted(41, "an ALPN of any bytes", &tlv(ALPN, b"\xff\xfe")),
            self.accepted(41, "a namespace in ASCII", &tlv(NETNS, b"blue")),
            self.refused(41, "a namespace that is not", &tlv(NETNS, "blåe".as_bytes())),
        ]
    }

    fn ssl(&self) -> Vec<Case> {
        let ssl = |client: u8, fields: &[u8]| tlv(SSL, &[&[client, 0, 0, 0, 0], fields].concat());
        let version = tlv(SSL_VERSION, b"TLSv1.3");
        vec![
            self.accepted(39, "no TLS", &ssl(0, b"")),
            self.accepted(39, "two fields inside", &ssl(1, &[&version[..], &version].concat())),
            self.refused(39, "shorter than client and verify", &tlv(SSL, &[0; 4])),
            self.refused(39, "a field inside that runs over", &ssl(1, &version[..8])),
            self.accepted(40, "TLS with its version", &ssl(1, &version)),
            self.refused(40, "TLS without a version", &ssl(1, b"")),
        ]
    }

    /// What the edition of 2026 says besides.
    fn newer(&self) -> Vec<Case> {
        let ssl = |fields: &[Vec<u8>]| {
            let version = tlv(SSL_VERSION, b"TLSv1.3");
            tlv(SSL, &[&[1, 0, 0, 0, 0], &version[..], &fields.concat()].concat())
        };
        let group = tlv(SSL_GROUP, b"X25519MLKEM768");
        let scheme = tlv(SSL_SIGNATURE_SCHEME, b"ecdsa_secp256r1_sha256");
        let certificate = tlv(SSL_CLIENT_CERTIFICATE, b"\x30\x82\x01\x00");
        let copies = [tlv(ALPN, b"h2"), tlv(AUTHORITY, b"Shop.Example.ORG")].concat();
        vec![
            self.accepted(46, "a group and a signature scheme", &ssl(&[group, scheme])),
            self.accepted(46, "a client certificate", &ssl(&[certificate])),
            self.accepted(47, "an authority and an ALPN", &copies),
            self.used_up(49, "three bytes of padding", &tlv(NOOP, b"")),
            self.refused(49, "two bytes of padding", &[NOOP, 0]),
        ]
    }

    fn ranges(&self) -> Vec<Case> {
        vec![
            self.accepted(42, "a custom type", &tlv(0xe5, b"custom")),
            self.accepted(42, "an experimental type", &tlv(0xf1, b"experiment")),
            self.accepted(42, "a future type", &tlv(0xff, b"future")),
        ]
    }
}
