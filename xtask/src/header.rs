//! A PROXY protocol reader of the developer commands' own, so that Foreword's headers are judged by
//! other code than Foreword's. It knows what demo and benchmark meet: TCP over IPv4 and IPv6, in
//! both versions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The twelve bytes that a binary header begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The endpoints that a header names, and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// 1 or 2.
    pub version: u8,
    /// The client.
    pub source: SocketAddr,
    /// Where the client wanted to go.
    pub destination: SocketAddr,
    /// The bytes behind the header.
    pub payload: &'a [u8],
}

/// Reads the header at the beginning of `bytes`; `None` if there is no complete and valid one.
pub fn decode(bytes: &[u8]) -> Option<Decoded<'_>> {
    if bytes.starts_with(SIGNATURE) { decode_v2(bytes) } else { decode_v1(bytes) }
}

/// `PROXY TCP4 192.0.2.1 203.0.113.10 40000 80\r\n`
fn decode_v1(bytes: &[u8]) -> Option<Decoded<'_>> {
    let end = bytes.windows(2).take(106).position(|pair| pair == b"\r\n")?;
    let line = str::from_utf8(&bytes[..end]).ok()?;
    let [protocol, source, destination, source_port, destination_port] =
        line.strip_prefix("PROXY ")?.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let source = SocketAddr::new(source.parse().ok()?, source_port.parse().ok()?);
    let destination = SocketAddr::new(destination.parse().ok()?, destination_port.parse().ok()?);
    let named = match protocol {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    named.then_some(Decoded { version: 1, source, destination, payload: &bytes[end + 2..] })
}

/// Signature, version and command, family and transport, length, addresses, ports, TLVs.
fn decode_v2(bytes: &[u8]) -> Option<Decoded<'_>> {
    let (&[0x21, family, high, low], rest) = bytes.strip_prefix(SIGNATURE)?.split_first_chunk()?
    else {
        return None;
    };
    let (block, payload) = rest.split_at_checked(u16::from_be_bytes([high, low]).into())?;
    let (source, destination) = match family {
        0x11 => v4_endpoints(block)?,
        0x21 => v6_endpoints(block)?,
        _ => return None,
    };
    Some(Decoded { version: 2, source, destination, payload })
}

fn v4_endpoints(block: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (source, rest) = block.split_first_chunk::<4>()?;
    let (destination, ports) = rest.split_first_chunk::<4>()?;
    endpoints(Ipv4Addr::from(*source).into(), Ipv4Addr::from(*destination).into(), ports)
}

fn v6_endpoints(block: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (source, rest) = block.split_first_chunk::<16>()?;
    let (destination, ports) = rest.split_first_chunk::<16>()?;
    endpoints(Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into(), ports)
}

fn endpoints(
    source: IpAddr,
    destination: IpAddr,
    ports: &[u8],
) -> Option<(SocketAddr, SocketAddr)> {
    let &[a, b, c, d] = ports.first_chunk()?;
    let port = |high, low| u16::from_be_bytes([high, low]);
    Some((SocketAddr::new(source, port(a, b)), SocketAddr::new(destination, port(c, d))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_text_header() {
        let header = decode(b"PROXY TCP4 192.0.2.1 203.0.113.10 40000 80\r\nGET /").unwrap();
        assert_eq!(header.version, 1);
        assert_eq!(header.source, "192.0.2.1:40000".parse().unwrap());
        assert_eq!(header.destination, "203.0.113.10:80".parse().unwrap());
        assert_eq!(header.payload, b"GET /");
    }

    #[test]
    fn reads_a_binary_header_and_skips_its_tlvs() {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10".to_vec();
        bytes.extend([192, 0, 2, 1, 203, 0, 113, 10, 0x9c, 0x40, 0, 80]);
        bytes.extend([4, 0, 1, 0]);
        bytes.extend(b"\x16\x03");
        let header = decode(&bytes).unwrap();
        assert_eq!(header.version, 2);
        assert_eq!(header.source, "192.0.2.1:40000".parse().unwrap());
        assert_eq!(header.destination, "203.0.113.10:80".parse().unwrap());
        assert_eq!(header.payload, b"\x16\x03");
    }

    #[test]
    fn reads_ipv6_in_both_versions() {
        let text = decode(b"PROXY TCP6 fd77:1::2 fdcb::10 1 2\r\n").unwrap();
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24".to_vec();
        bytes.extend("fd77:1::2".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend("fdcb::10".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend([0, 1, 0, 2]);
        let binary = decode(&bytes).unwrap();
        assert_eq!((text.source, text.destination), (binary.source, binary.destination));
        assert_eq!(binary.source, "[fd77:1::2]:1".parse().unwrap());
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
