//! Reads what we need of a packet: the two addresses, the two ports, the TCP header.
//!
//! IPv4 options and IPv6 extension headers are skipped. A packet that is cut short or of another
//! protocol is `None`: not ours. So is a fragment but the first, which alone tells the ports;
//! without the first, the others come to nothing.

use proxy_common::abi::Address;

use crate::frame::Frame;
use crate::header::{Ipv4Header, Ipv6Header, TcpFlags, TcpHeader};

/// IPv4, in network byte order.
pub const ETH_P_IP: u32 = (0x0800_u16).to_be() as u32;
/// IPv6, in network byte order.
pub const ETH_P_IPV6: u32 = (0x86dd_u16).to_be() as u32;

const IPPROTO_ICMP: u8 = 1;
/// TCP's protocol number.
pub const IPPROTO_TCP: u8 = 6;
/// UDP's protocol number.
pub const IPPROTO_UDP: u8 = 17;
const IPPROTO_ICMPV6: u8 = 58;

/// Extension headers that we follow before giving up; real packets carry one or two.
const MAX_EXTENSIONS: usize = 6;
/// Octets before the inner packet in an ICMP error, v4 and v6.
const ICMP_HEADER_LEN: u32 = 8;

/// `AF_INET`.
pub const AF_INET: u32 = 2;
/// `AF_INET6`.
pub const AF_INET6: u32 = 10;

/// What a packet is to us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A TCP segment.
    Tcp,
    /// An ICMP error about a TCP segment; the tuple is the inner one with its ends swapped, so
    /// that it names the socket which sent the segment.
    IcmpError,
    /// The first fragment of a TCP segment.
    Fragment,
}

/// A packet's headers. Addresses and ports are in network byte order; an IPv4 address is in the
/// first word of its array and the others are 0.
#[derive(Clone, Copy)]
pub struct Packet {
    /// [`AF_INET`] or [`AF_INET6`].
    pub family: u32,
    /// A segment, a part of one, or an error about one.
    pub kind: Kind,
    /// Who sent it; for an error, the far end of the connection.
    pub source: [u32; 4],
    /// Where it goes; for an error, our end of the connection.
    pub destination: [u32; 4],
    /// Port of `source`.
    pub source_port: u16,
    /// Port of `destination`.
    pub destination_port: u16,
    /// What it does; nothing for an error or a fragment.
    pub flags: TcpFlags,
    /// Where the TCP header is, in octets behind the start of the network header.
    pub transport: u32,
}

/// One IP header read: where it leads.
struct Network {
    protocol: u8,
    /// Whether this is the first of several fragments.
    first_fragment: bool,
    /// Offset of what follows, from the outer network header.
    next: u32,
    source: [u32; 4],
    destination: [u32; 4],
}

impl Packet {
    /// Reads the headers; `None` if the packet can be no business of ours.
    #[inline(always)]
    pub fn parse(frame: &impl Frame) -> Option<Self> {
        let (family, outer) = Network::outer(frame)?;
        match outer.protocol {
            IPPROTO_TCP => Self::tcp(frame, family, &outer),
            IPPROTO_ICMP if family == AF_INET && is_ipv4_error(frame.load(outer.next)?) => {
                Self::error(frame, family, &Network::ipv4(frame, outer.next + ICMP_HEADER_LEN)?)
            }
            IPPROTO_ICMPV6 if family == AF_INET6 && is_ipv6_error(frame.load(outer.next)?) => {
                Self::error(frame, family, &Network::ipv6(frame, outer.next + ICMP_HEADER_LEN)?)
            }
            _ => None,
        }
    }

    /// A whole segment.
    #[inline(always)]
    pub fn segment(
        family: u32,
        source: [u32; 4],
        destination: [u32; 4],
        transport: u32,
        tcp: &TcpHeader,
    ) -> Self {
        Self {
            family,
            kind: Kind::Tcp,
            source,
            destination,
            source_port: tcp.source,
            destination_port: tcp.destination,
            flags: tcp.flags,
            transport,
        }
    }

    /// Reads the headers of TCP only.
    #[inline(always)]
    pub fn parse_tcp(frame: &impl Frame) -> Option<Self> {
        let (family, outer) = Network::outer(frame)?;
        if outer.protocol != IPPROTO_TCP {
            return None;
        }
        Self::tcp(frame, family, &outer)
    }

    /// Whether it opens a connection, as far as one can see.
    #[inline(always)]
    pub fn opens(&self) -> bool {
        self.flags.opens()
    }

    /// The same with its ends changed over: whom its answer belongs to.
    #[inline(always)]
    pub fn turned(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..*self
        }
    }

    /// The source, as the maps have it.
    #[inline(always)]
    pub fn source_address(&self) -> Address {
        address(self.family, self.source)
    }

    /// The destination, as the maps have it.
    #[inline(always)]
    pub fn destination_address(&self) -> Address {
        address(self.family, self.destination)
    }

    /// Whether the source is 127.0.0.0/8 or ::1.
    #[inline(always)]
    pub fn is_from_loopback(&self) -> bool {
        match self.family {
            AF_INET => u32::from_be(self.source[0]) >> 24 == 127,
            _ => self.source == [0, 0, 0, 1_u32.to_be()],
        }
    }

    /// An IPv4 header with this packet's addresses, for helpers that want one.
    #[inline(always)]
    pub fn ipv4_header(&self) -> Ipv4Header {
        Ipv4Header::of(IPPROTO_TCP, self.source[0], self.destination[0])
    }

    /// An IPv6 header with this packet's addresses, for helpers that want one.
    #[inline(always)]
    pub fn ipv6_header(&self) -> Ipv6Header {
        Ipv6Header::of(IPPROTO_TCP, self.source, self.destination)
    }

    #[inline(always)]
    fn tcp(frame: &impl Frame, family: u32, ip: &Network) -> Option<Self> {
        if !ip.first_fragment {
            let tcp: TcpHeader = frame.load(ip.next)?;
            return Some(Self::segment(family, ip.source, ip.destination, ip.next, &tcp));
        }
        // A first fragment can be too short for the whole header, never for the ports.
        let ports: [u16; 2] = frame.load(ip.next)?;
        Some(Self {
            family,
            kind: Kind::Fragment,
            source: ip.source,
            destination: ip.destination,
            source_port: ports[0],
            destination_port: ports[1],
            flags: TcpFlags::default(),
            transport: ip.next,
        })
    }

    /// An error quotes the packet that we sent: its source is our end.
    #[inline(always)]
    fn error(frame: &impl Frame, family: u32, quoted: &Network) -> Option<Self> {
        if quoted.protocol != IPPROTO_TCP {
            return None;
        }
        // At least 8 octets of the segment are quoted, so the ports are always there.
        let ports: [u16; 2] = frame.load(quoted.next)?;
        Some(Self {
            family,
            kind: Kind::IcmpError,
            source: quoted.destination,
            destination: quoted.source,
            source_port: ports[1],
            destination_port: ports[0],
            flags: TcpFlags::default(),
            transport: quoted.next,
        })
    }
}

impl Network {
    /// The packet's own header, and its family.
    #[inline(always)]
    fn outer(frame: &impl Frame) -> Option<(u32, Self)> {
        match frame.protocol() {
            ETH_P_IP => Some((AF_INET, Self::ipv4(frame, 0)?)),
            ETH_P_IPV6 => Some((AF_INET6, Self::ipv6(frame, 0)?)),
            _ => None,
        }
    }

    #[inline(always)]
    fn ipv4(frame: &impl Frame, at: u32) -> Option<Self> {
        let ip: Ipv4Header = frame.load(at)?;
        if ip.is_later_fragment() {
            return None;
        }
        Some(Self {
            protocol: ip.protocol,
            first_fragment: ip.has_more_fragments(),
            next: at + ip.length(),
            source: [ip.source, 0, 0, 0],
            destination: [ip.destination, 0, 0, 0],
        })
    }

    #[inline(always)]
    fn ipv6(frame: &impl Frame, at: u32) -> Option<Self> {
        let ip: Ipv6Header = frame.load(at)?;
        let mut network = Self {
            protocol: ip.next_header,
            first_fragment: false,
            next: at + size_of::<Ipv6Header>() as u32,
            source: ip.source,
            destination: ip.destination,
        };
        network.skip_extensions(frame)?;
        Some(network)
    }

    /// Follows hop-by-hop options, routing, destination options and the fragment header to the
    /// transport header.
    #[inline(always)]
    fn skip_extensions(&mut self, frame: &impl Frame) -> Option<()> {
        const HOP_BY_HOP: u8 = 0;
        const ROUTING: u8 = 43;
        const FRAGMENT: u8 = 44;
        const DESTINATION: u8 = 60;
        /// The fragment's offset, and "more fragments".
        const OFFSET: u16 = 0xfff8;
        const MORE: u16 = 1;
        for _ in 0..MAX_EXTENSIONS {
            if !matches!(self.protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
                return Some(());
            }
            let [next, length, high, low]: [u8; 4] = frame.load(self.next)?;
            if self.protocol == FRAGMENT {
                let position = u16::from_be_bytes([high, low]);
                if position & OFFSET != 0 {
                    return None;
                }
                self.first_fragment = position & MORE != 0;
                self.next += 8;
            } else {
                self.next += (u32::from(length) + 1) * 8;
            }
            self.protocol = next;
        }
        None
    }
}

/// An address as the maps have it: IPv4 in its mapped form.
#[inline(always)]
fn address(family: u32, words: [u32; 4]) -> Address {
    let words = if family == AF_INET { [0, 0, MAPPED, words[0]] } else { words };
    let mut address = [0; 16];
    let mut i = 0;
    while i < 4 {
        address[i * 4..i * 4 + 4].copy_from_slice(&words[i].to_ne_bytes());
        i += 1;
    }
    address
}

/// The third word of an IPv4-mapped address.
const MAPPED: u32 = 0x0000_ffff_u32.to_be();

/// Unreachable (which carries "fragmentation needed"), time exceeded, parameter problem.
#[inline(always)]
fn is_ipv4_error(icmp_type: u8) -> bool {
    matches!(icmp_type, 3 | 11 | 12)
}

/// Unreachable, packet too big, time exceeded, parameter problem.
#[inline(always)]
fn is_ipv6_error(icmp_type: u8) -> bool {
    matches!(icmp_type, 1..=4)
}
