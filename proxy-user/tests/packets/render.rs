//! Turns the description of a frame into bytes.

use std::net::IpAddr;

use crate::packet::{
    Extension, Fragment, Ipv4, Ipv6, Length, Network, Packet, Payload, Recipient, Tcp,
};

/// The source address of every frame, which no interface has.
const SENDER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];
/// Bytes of an Ethernet header without tags, which every frame has.
pub const ETHERNET: usize = 14;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// The frame's bytes. `ours` is the link-layer address of the interface that it comes in by.
pub fn frame(packet: &Packet, ours: [u8; 6]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend(match packet.to {
        Recipient::Ours => ours,
        Recipient::Stranger => [0x02, 0, 0, 0, 0, 0x55],
        Recipient::Broadcast => [0xff; 6],
        Recipient::Multicast => [0x33, 0x33, 0, 0, 0, 1],
    });
    bytes.extend(SENDER);
    for tag in &packet.tags {
        bytes.extend(tag.protocol.to_be_bytes());
        bytes.extend(tag.control.to_be_bytes());
    }
    let (protocol, network) = network(&packet.network);
    bytes.extend(protocol.to_be_bytes());
    bytes.extend(network);
    bytes.extend(&packet.padding);
    if let Some(cut) = packet.cut {
        bytes.truncate(cut.max(ETHERNET));
    }
    bytes
}

/// The protocol's number and the packet.
pub fn network(network: &Network) -> (u16, Vec<u8>) {
    match network {
        Network::Other(protocol, bytes) => (*protocol, bytes.clone()),
        Network::Ipv4(ip) => (IPV4, ipv4(ip)),
        Network::Ipv6(ip) => (IPV6, ipv6(ip)),
    }
}

fn ipv4(ip: &Ipv4) -> Vec<u8> {
    let (protocol, payload) = payload(&ip.payload, ip.source.into(), ip.destination.into());
    let header_words = ip.header_words.unwrap_or(5 + ip.options.len() as u8);
    let header = 20 + 4 * ip.options.len();
    let mut bytes = Vec::with_capacity(header + payload.len());
    bytes.extend([ip.version << 4 | header_words & 0xf, 0]);
    bytes.extend(stated(ip.length, header + payload.len()).to_be_bytes());
    bytes.extend([0x42, 0x42]);
    let Fragment { offset, more } = ip.fragment.unwrap_or(Fragment { offset: 0, more: false });
    bytes.extend((offset & 0x1fff | u16::from(more) << 13).to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(ip.source.octets());
    bytes.extend(ip.destination.octets());
    bytes.extend(ip.options.as_flattened());
    let checksum = checksum([&bytes[..]]);
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn ipv6(ip: &Ipv6) -> Vec<u8> {
    let (protocol, payload) = payload(&ip.payload, ip.source.into(), ip.destination.into());
    let mut behind = Vec::with_capacity(64 + payload.len());
    let followers = ip.extensions.iter().skip(1).map(number).chain([protocol]);
    for (extension, next) in ip.extensions.iter().zip(followers) {
        behind.extend(extension_header(extension, next));
    }
    behind.extend(payload);
    let mut bytes = Vec::with_capacity(40 + behind.len());
    bytes.extend([ip.version << 4, 0, 0, 0]);
    bytes.extend(stated(ip.length, behind.len()).to_be_bytes());
    bytes.extend([ip.extensions.first().map_or(protocol, number), 64]);
    bytes.extend(ip.source.octets());
    bytes.extend(ip.destination.octets());
    bytes.extend(behind);
    bytes
}

/// What a header states where `right` would be right.
fn stated(length: Length, right: usize) -> u16 {
    let right = u16::try_from(right).expect("a frame is shorter than 64 KiB");
    match length {
        Length::Right => right,
        Length::Off(by) => right.saturating_add_signed(by),
        Length::Is(length) => length,
    }
}

fn number(extension: &Extension) -> u8 {
    match extension {
        Extension::HopByHop { .. } => 0,
        Extension::Routing { .. } => 43,
        Extension::Fragment(_) => 44,
        Extension::Authentication { .. } => 51,
        Extension::Destination { .. } => 60,
        Extension::Other { protocol, .. } => *protocol,
    }
}

fn extension_header(extension: &Extension, next: u8) -> Vec<u8> {
    match *extension {
        Extension::HopByHop { units } | Extension::Destination { units } => {
            let mut bytes = vec![next, units];
            bytes.resize(8 + 8 * usize::from(units), 0);
            bytes[2..].chunks_mut(0xff).for_each(fill_option);
            bytes
        }
        Extension::Routing { kind, segments_left, units } => {
            let mut bytes = vec![next, units, kind, segments_left];
            bytes.resize(8 + 8 * usize::from(units), 0);
            bytes
        }
        Extension::Fragment(Fragment { offset, more }) => {
            let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
            vec![next, 0, high, low, 0, 0, 0x42, 0x42]
        }
        Extension::Authentication { units } => {
            let mut bytes = vec![next, units];
            bytes.resize(8 + 4 * usize::from(units), 0);
            bytes
        }
        Extension::Other { units, .. } => {
            let mut bytes = vec![next, units];
            bytes.resize(8 + 8 * usize::from(units), 0);
            bytes
        }
    }
}

/// An option of an unknown type that has to be skipped (RFC 8200, section 4.2). Linux accepts no
/// more than 7 bytes of padding in a row.
fn fill_option(bytes: &mut [u8]) {
    const SKIPPED: u8 = 0x1e;
    if bytes.len() > 1 {
        bytes[0] = SKIPPED;
        bytes[1] = bytes.len() as u8 - 2;
    }
}

/// The protocol's number, and what is behind the IP header.
fn payload(payload: &Payload, source: IpAddr, destination: IpAddr) -> (u8, Vec<u8>) {
    match payload {
        Payload::Tcp(tcp) => (TCP, segment(tcp, source, destination)),
        Payload::Udp { source, destination } => {
            let mut bytes = Vec::with_capacity(8);
            bytes.extend(source.to_be_bytes());
            bytes.extend(destination.to_be_bytes());
            bytes.extend([0, 8, 0, 0]);
            (UDP, bytes)
        }
        Payload::IcmpError { kind, quoted } => {
            let protocol = if source.is_ipv4() { ICMP } else { ICMPV6 };
            let mut bytes = vec![*kind, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend(network(quoted).1);
            (protocol, bytes)
        }
        Payload::Other { protocol, bytes } => (*protocol, bytes.clone()),
    }
}

fn segment(tcp: &Tcp, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(tcp.bytes.max(Tcp::HEADER));
    bytes.extend(tcp.source.to_be_bytes());
    bytes.extend(tcp.destination.to_be_bytes());
    bytes.extend([0, 0, 0x10, 0]);
    bytes.extend(tcp.acknowledgment.to_be_bytes());
    bytes.extend([tcp.header_words << 4, tcp.flags]);
    bytes.extend([0xfa, 0, 0, 0, 0, 0]);
    // Options that mean nothing, as far as the header goes.
    bytes.resize(tcp.bytes.max(Tcp::HEADER), 1);
    let length = [0, 0, (bytes.len() >> 8) as u8, bytes.len() as u8, 0, 0, 0, TCP];
    let sum = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            checksum([&source.octets(), &destination.octets(), &length, &bytes])
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            checksum([&source.octets(), &destination.octets(), &length, &bytes])
        }
        _ => unreachable!("a packet's addresses are of one family"),
    };
    bytes[16..18].copy_from_slice(&sum.to_be_bytes());
    bytes.truncate(tcp.bytes);
    bytes
}

/// The Internet's checksum of these parts, each but the last of even length.
pub fn checksum<const N: usize>(parts: [&[u8]; N]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes copied from the examples of RFC 1071 and of a captured SYN.
    #[test]
    fn checksums_are_right() {
        assert_eq!(checksum([&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(checksum([&header]), 0xb861);
    }
}
