//! PROXY headers, written and read by hand from the protocol's text: TCP over IPv4 and IPv6, in both
//! versions.
//!
//! It shares no line with the product on purpose. What Foreword reads and writes is judged by this.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Family;

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

/// [`v2`] with any bytes behind the addresses, counted in the length.
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

/// A header, read, and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// 1 or 2.
    pub version: u8,
    /// The addresses that it names; `None` where it is LOCAL.
    pub endpoints: Option<Endpoints>,
    /// What follows the addresses in a v2 header.
    pub tlvs: &'a [u8],
    /// The bytes behind the header.
    pub payload: &'a [u8],
}

/// The addresses that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The client.
    pub source: SocketAddr,
    /// Where the client wanted to go.
    pub destination: SocketAddr,
}

/// Reads the header at the beginning of `bytes`; `None` if there is no complete and valid one.
pub fn decode(bytes: &[u8]) -> Option<Decoded<'_>> {
    if bytes.starts_with(&V2_SIGNATURE) { decode_v2(bytes) } else { decode_v1(bytes) }
}

/// `PROXY TCP4 192.0.2.1 203.0.113.10 40000 80\r\n`
fn decode_v1(bytes: &[u8]) -> Option<Decoded<'_>> {
    let end = bytes.windows(2).take(106).position(|pair| pair == b"\r\n")?;
    let line = str::from_utf8(&bytes[..end]).ok()?;
    let [protocol, source, destination, source_port, destination_port] =
        line.strip_prefix("PROXY ")?.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let source = SocketAddr::new(source.parse().ok()?, source_port.parse().ok()?);
    let destination = SocketAddr::new(destination.parse().ok()?, destination_port.parse().ok()?);
    let is_named = match protocol {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    let endpoints = is_named.then_some(Endpoints { source, destination })?;
    Some(Decoded { version: 1, endpoints: Some(endpoints), tlvs: b"", payload: &bytes[end + 2..] })
}

/// Signature, version and command, family and transport, length, addresses, ports, TLVs.
fn decode_v2(bytes: &[u8]) -> Option<Decoded<'_>> {
    let (&[command, family, high, low], rest) =
        bytes.strip_prefix(&V2_SIGNATURE)?.split_first_chunk()?;
    let (block, payload) = rest.split_at_checked(u16::from_be_bytes([high, low]).into())?;
    let (endpoints, tlvs) = match (command, family) {
        (0x20, 0x00) => (None, block),
        (0x21, 0x11) => {
            let (source, rest) = block.split_first_chunk::<4>()?;
            let (destination, rest) = rest.split_first_chunk::<4>()?;
            endpoints(Ipv4Addr::from(*source).into(), Ipv4Addr::from(*destination).into(), rest)?
        }
        (0x21, 0x21) => {
            let (source, rest) = block.split_first_chunk::<16>()?;
            let (destination, rest) = rest.split_first_chunk::<16>()?;
            endpoints(Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into(), rest)?
        }
        _ => return None,
    };
    Some(Decoded { version: 2, endpoints, tlvs, payload })
}

/// Both addresses with their ports, and what follows these.
fn endpoints(
    source: IpAddr,
    destination: IpAddr,
    bytes: &[u8],
) -> Option<(Option<Endpoints>, &[u8])> {
    let (&[a, b, c, d], rest) = bytes.split_first_chunk()?;
    let source = SocketAddr::new(source, u16::from_be_bytes([a, b]));
    let destination = SocketAddr::new(destination, u16::from_be_bytes([c, d]));
    Some((Some(Endpoints { source, destination }), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Decoded<'_> {
        decode(bytes).expect("a whole header")
    }

    fn named(source: &str, destination: &str) -> Endpoints {
        let parse = |text: &str| text.parse().expect("an address");
        Endpoints { source: parse(source), destination: parse(destination) }
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

    #[test]
    fn reads_v1() {
        let header = read(b"PROXY TCP4 192.0.2.1 203.0.113.10 40000 80\r\nGET /");
        assert_eq!(header.version, 1);
        assert_eq!(header.endpoints, Some(named("192.0.2.1:40000", "203.0.113.10:80")));
        assert_eq!(header.payload, b"GET /");
        let header = read(b"PROXY TCP6 fd77:1::2 fdcb::10 1 2\r\n");
        assert_eq!(header.endpoints, Some(named("[fd77:1::2]:1", "[fdcb::10]:2")));
    }

    #[test]
    fn reads_v2_and_sets_its_tlvs_apart() {
        for family in Family::BOTH {
            let (source, destination) = (named_client(family), named_destination(family));
            let bytes = v2_with_tlvs(source, destination, b"\x04\0\x01\0");
            let bytes = [&bytes[..], b"\x16\x03"].concat();
            let header = read(&bytes);
            assert_eq!(header.version, 2);
            assert_eq!(header.endpoints, Some(Endpoints { source, destination }));
            assert_eq!(header.tlvs, b"\x04\0\x01\0");
            assert_eq!(header.payload, b"\x16\x03");
        }
    }

    #[test]
    fn reads_local() {
        let bytes = [&v2_local()[..], b"GET /"].concat();
        let header = read(&bytes);
        assert_eq!((header.version, header.endpoints), (2, None));
        assert_eq!(header.payload, b"GET /");
    }

    #[test]
    fn takes_nothing_else_for_a_header() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.1 203.0.113.10 40000\r\n",
            b"PROXY TCP6 192.0.2.1 203.0.113.10 40000 80\r\n",
            b"PROXY TCP4 192.0.2.1 203.0.113.10 40000 80",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x00",
            b"",
        ] {
            assert_eq!(decode(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
