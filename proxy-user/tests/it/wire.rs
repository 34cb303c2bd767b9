//! PROXY headers, written by hand from the protocol's text.
//!
//! Independent of the product on purpose: not one line here is shared with its encoder.

use std::net::{IpAddr, SocketAddr};

use xtask::lab::Family;

/// The twelve bytes that begin a v2 header.
pub const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// [`v1`] or [`v2`].
pub type Encoder = fn(SocketAddr, SocketAddr) -> Vec<u8>;

/// Whom the tests' headers name as the client: an address that is nowhere in the lab.
pub fn named_client(family: Family) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::from(([198, 51, 100, 7], 40000)),
        Family::V6 => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 40000)),
    }
}

/// What the tests' headers name as the destination: nowhere in the lab either.
pub fn named_destination(family: Family) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::from(([192, 0, 2, 44], 443)),
        Family::V6 => SocketAddr::from(([0x2001, 0xdb8, 0x44, 0, 0, 0, 0, 1], 443)),
    }
}

/// A v1 line. Both addresses are of one family.
pub fn v1(client: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    assert_eq!(client.is_ipv4(), destination.is_ipv4());
    let (client_ip, destination_ip) = (client.ip(), destination.ip());
    let (client_port, destination_port) = (client.port(), destination.port());
    format!("PROXY {family} {client_ip} {destination_ip} {client_port} {destination_port}\r\n")
        .into_bytes()
}

/// A v2 header of command PROXY over TCP, without TLVs.
pub fn v2(client: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    v2_with_tlvs(client, destination, &[])
}

/// The same with whatever bytes behind the addresses, counted in the length.
pub fn v2_with_tlvs(client: SocketAddr, destination: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for address in [client, destination] {
        match address.ip() {
            IpAddr::V4(ip) => block.extend(ip.octets()),
            IpAddr::V6(ip) => block.extend(ip.octets()),
        }
    }
    block.extend(client.port().to_be_bytes());
    block.extend(destination.port().to_be_bytes());
    block.extend(tlvs);
    v2_raw(0x21, if client.is_ipv4() { 0x11 } else { 0x21 }, &block)
}

/// A v2 header of command LOCAL, without anything behind it.
pub fn v2_local() -> Vec<u8> {
    v2_raw(0x20, 0x00, &[])
}

/// A v2 header with any version, command, family and block.
pub fn v2_raw(version_and_command: u8, family_and_transport: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).expect("a block is shorter than 64 KiB");
    let mut header = V2_SIGNATURE.to_vec();
    header.extend([version_and_command, family_and_transport]);
    header.extend(length.to_be_bytes());
    header.extend(block);
    header
}

/// The two headers that the tests send for the named client: `[v1, v2]`.
pub fn named_headers(family: Family) -> [Vec<u8>; 2] {
    let (client, destination) = (named_client(family), named_destination(family));
    [v1(client, destination), v2(client, destination)]
}

/// `a` followed by `b`.
pub fn join(a: &[u8], b: &[u8]) -> Vec<u8> {
    [a, b].concat()
}

/// Longest text that a message shows of some bytes.
const SHOWN: usize = 600;

/// Bytes for a message: text as it is, everything else escaped, a long tail left out.
pub fn text(bytes: &[u8]) -> String {
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    if bytes.len() > SHOWN {
        format!("{shown}… ({} bytes)", bytes.len())
    } else {
        shown.to_string()
    }
}

/// A second opinion on this module itself: bytes copied from the protocol's examples and counted
/// by hand.
#[test]
fn golden_headers() {
    let [v1, v2] = named_headers(Family::V4);
    assert_eq!(v1, b"PROXY TCP4 198.51.100.7 192.0.2.44 40000 443\r\n");
    assert_eq!(
        v2,
        b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c\
          \xc6\x33\x64\x07\xc0\x00\x02\x2c\x9c\x40\x01\xbb"
    );
    let [v1, v2] = named_headers(Family::V6);
    assert_eq!(v1, b"PROXY TCP6 2001:db8::7 2001:db8:44::1 40000 443\r\n");
    assert_eq!(
        v2,
        b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x21\x00\x24\
          \x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\
          \x20\x01\x0d\xb8\x00\x44\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x9c\x40\x01\xbb"
    );
}
