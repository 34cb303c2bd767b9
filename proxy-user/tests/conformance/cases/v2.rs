//! The binary block up to its TLVs.

use netlab::header::{V2_SIGNATURE, named_headers, v2, v2_local, v2_raw, v2_with_tlvs};
use netlab::{Family, join};

use super::{Case, named_ends};
use crate::answer::Ends;

/// Length of the block that two unix addresses take.
const UNIX_BLOCK: usize = 216;

pub fn cases(family: Family) -> Vec<Case> {
    [start(family), local(), families(family), lengths(family), telling_versions()].concat()
}

/// The family's TCP byte, and the length of its address block.
fn tcp(family: Family) -> (u8, u8) {
    if family == Family::V4 { (0x11, 12) } else { (0x21, 36) }
}

fn start(family: Family) -> Vec<Case> {
    let [_, v2] = named_headers(family);
    let with = |index: usize, byte: u8| {
        let mut header = v2.clone();
        header[index] = byte;
        header
    };
    let up_to = |index: usize, byte: u8| with(index, byte)[..=index].to_vec();
    let without_nul = [&v2[..4], &v2[5..]].concat();
    let (tcp, _) = tcp(family);
    vec![
        Case::refused(20, "a signature without its NUL", without_nul),
        Case::refused(20, "a signature whose last byte is wrong", with(11, b'\r')),
        Case::refused(21, "version 1", with(12, 0x11)),
        Case::refused(21, "version 3", with(12, 0x31)),
        Case::refused_at_once(21, "version 0, and no more", up_to(12, 0x01)),
        Case::refused(22, "command 2", with(12, 0x22)),
        Case::refused_at_once(22, "command 15, and no more", up_to(12, 0x2f)),
        Case::refused(25, "family 4", with(13, 0x41)),
        Case::refused(25, "transport 3", with(13, (tcp & 0xf0) | 3)),
        Case::refused_at_once(25, "family 15, and no more", up_to(13, 0xf1)),
    ]
}

fn local() -> Vec<Case> {
    let noop = [&[0x04, 0, 69][..], &[0; 69]].concat();
    let health_check = join(&[0; 12], &noop);
    let custom = [0xea, 0, 3, 1, b'v', b'p'];
    vec![
        Case::local(23, "nothing behind the length", v2_local()),
        Case::local(23, "a TCP family without addresses", v2_raw(0x20, 0x11, &[])),
        Case::local(23, "a family that does not exist", v2_raw(0x20, 0xff, &[0xff; 7])),
        Case::local(23, "a load balancer's health check", v2_raw(0x20, 0x11, &health_check)),
        Case::local(24, "LOCAL with a TLV", v2_raw(0x20, 0x00, &custom)).passing_on(&custom),
        Case::local(24, "LOCAL with addresses", v2_raw(0x20, 0x11, &[1; 12])),
    ]
}

fn families(family: Family) -> Vec<Case> {
    let (tcp, length) = tcp(family);
    let udp = (tcp & 0xf0) | 2;
    let addresses = vec![0xfe; usize::from(length)];
    vec![
        Case::real(26, "UNSPEC without addresses", v2_raw(0x21, 0x00, &[])),
        Case::real(26, "UNSPEC with bytes for addresses", v2_raw(0x21, 0x00, &[0xff; 12])),
        Case::real(27, "UDP", v2_raw(0x21, udp, &addresses)),
        Case::real(27, "unix stream", v2_raw(0x21, 0x31, &[0x2f; UNIX_BLOCK])),
        Case::real(27, "unix datagram", v2_raw(0x21, 0x32, &[0x2f; UNIX_BLOCK])),
    ]
}

fn lengths(family: Family) -> Vec<Case> {
    let named @ Ends { client, destination } = named_ends(family);
    let [_, header] = named_headers(family);
    let padding = [&[0x04, 1, 0x2c][..], &[b'P'; 300]].concat();
    let (tcp, length) = tcp(family);
    // An IPv6 header's swapped length would be beyond Foreword's maximum.
    let [_, mut little_endian] = named_headers(Family::V4);
    little_endian.swap(14, 15);
    let short = vec![7; usize::from(length) - 1];
    let swapped = Ends { client: destination, destination: client };
    vec![
        Case::named(
            28,
            "a length of two bytes",
            v2_with_tlvs(client, destination, &padding),
            named,
        ),
        Case::waits(28, "a length in the other byte order", little_endian),
        Case::refused(29, "no address block", v2_raw(0x21, tcp, &[])),
        Case::refused(29, "an address block without its last byte", v2_raw(0x21, tcp, &short)),
        Case::refused(29, "unix addresses of 215 bytes", v2_raw(0x21, 0x31, &[0; UNIX_BLOCK - 1])),
        Case::refused_at_once(
            29,
            "a length too short, and nothing behind it",
            &v2_raw(0x21, tcp, &short)[..16],
        ),
        Case::named(30, "the source first", header.as_slice(), named),
        Case::named(30, "source and destination swapped", v2(destination, client), swapped),
        Case::waits(31, "all but the last byte", &header[..header.len() - 1]),
    ]
}

fn telling_versions() -> Vec<Case> {
    let signature = |length: usize| join(&V2_SIGNATURE[..length], b"x");
    vec![
        Case::refused_at_once(32, "another first byte", b"G"),
        Case::refused_at_once(32, "five bytes of v1 and another", b"PROXYx"),
        Case::refused_at_once(32, "two bytes of v1 and another", b"PRI"),
        Case::refused_at_once(32, "one byte of v2 and another", signature(1)),
        Case::refused_at_once(32, "eleven bytes of v2 and another", signature(11)),
    ]
}
