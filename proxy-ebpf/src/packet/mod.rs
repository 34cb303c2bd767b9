//! Reads what the programs need of a packet: addresses, ports and TCP flags.
//!
//! A packet of another protocol is `None`: not ours. So is a later fragment; only the first one
//! carries the ports, and without it the others are useless. A packet that may be TCP but can't be
//! read as far as its ports and flags is [`Kind::Unreadable`].

pub mod bytes;
pub mod direct_access;
pub mod header;
pub mod ip;

use core::mem::offset_of;

use aya_ebpf::programs::TcContext;
use proxy_common::abi::Address;

use self::bytes::{EthernetFrame, linearize, load};
use self::header::{Ipv4Header, Ipv6Header, TcpFlags, TcpHeader};
use self::ip::{IpError, IpHeaders};

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

/// Bytes before the quoted packet in an ICMP error, v4 and v6.
const ICMP_HEADER_LEN: u32 = 8;

/// `AF_INET`.
pub const AF_INET: u32 = 2;
/// `AF_INET6`.
pub const AF_INET6: u32 = 10;

/// What kind of packet it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A TCP segment.
    Tcp,
    /// An ICMP error about a TCP segment. The four-tuple is the quoted one reversed, so that it
    /// finds the socket which sent the segment.
    IcmpError,
    /// The first fragment of a TCP segment. If it is too short to hold the flags, they are set to
    /// SYN, which they may be.
    Fragment,
    /// It may be TCP. Ports and flags are unknown, and 0.
    Unreadable,
}

/// What is known of a packet. Addresses and ports are in network byte order; an IPv4 address is the
/// first word of its array, and the others are 0.
#[derive(Clone, Copy)]
pub struct Packet {
    /// [`AF_INET`] or [`AF_INET6`].
    pub family: u32,
    /// What kind of packet it is.
    pub kind: Kind,
    /// The source address; for an error, the far end of the connection.
    pub source: [u32; 4],
    /// The destination address; for an error, our end of the connection.
    pub destination: [u32; 4],
    /// Port of `source`.
    pub source_port: u16,
    /// Port of `destination`.
    pub destination_port: u16,
    /// The TCP flags; none for an error.
    pub flags: TcpFlags,
    /// Whether a routing header has segments left, so that the final destination is another one.
    pub is_source_routed: bool,
    /// Whether it is a whole segment without VLAN tags, IP options and extension headers.
    pub is_plain: bool,
    /// Offset of the TCP header from the start of the network header.
    pub transport: u32,
}

impl Packet {
    /// Reads the headers, whatever their order and number; `None` if the packet can't be ours.
    #[inline(always)]
    pub fn parse(ctx: &TcContext) -> Option<Self> {
        linearize(ctx);
        match IpHeaders::outer(ctx) {
            Err(IpError::NotOurs) => None,
            Err(IpError::Unreadable(ip)) => Some(Self::unreadable(&ip)),
            Ok(ip) => match ip.protocol {
                IPPROTO_TCP => Some(Self::tcp(ctx, &ip)),
                IPPROTO_ICMP if ip.family == AF_INET && is_ipv4_error(load(ctx, ip.next)?) => {
                    Self::error(ctx, &IpHeaders::ipv4(ctx, ip.next + ICMP_HEADER_LEN).ok()?)
                }
                IPPROTO_ICMPV6 if ip.family == AF_INET6 && is_ipv6_error(load(ctx, ip.next)?) => {
                    Self::error(ctx, &IpHeaders::ipv6(ctx, ip.next + ICMP_HEADER_LEN).ok()?)
                }
                _ => None,
            },
        }
    }

    /// Reads the headers of a plain frame; `None` for every other one.
    #[inline(always)]
    pub fn parse_plain(frame: &EthernetFrame) -> Option<Self> {
        match frame.protocol() {
            ETH_P_IP => {
                let ip: Ipv4Header = frame.load(0)?;
                if !ip.is_plain() || ip.protocol != IPPROTO_TCP {
                    return None;
                }
                let transport = size_of::<Ipv4Header>() as u32;
                let (source, destination) = ([ip.source, 0, 0, 0], [ip.destination, 0, 0, 0]);
                Some(Self::segment(
                    AF_INET,
                    source,
                    destination,
                    transport,
                    &frame.load(transport)?,
                ))
            }
            ETH_P_IPV6 => {
                let ip: Ipv6Header = frame.load(0)?;
                if ip.next_header != IPPROTO_TCP {
                    return None;
                }
                let transport = size_of::<Ipv6Header>() as u32;
                let (source, destination) = (ip.source, ip.destination);
                Some(Self::segment(
                    AF_INET6,
                    source,
                    destination,
                    transport,
                    &frame.load(transport)?,
                ))
            }
            _ => None,
        }
    }

    /// The segment of a plain packet.
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
            is_source_routed: false,
            is_plain: true,
            transport,
        }
    }

    /// Whether it is the SYN that opens a connection; for a short first fragment, whether it may
    /// be.
    #[inline(always)]
    pub fn is_initial_syn(&self) -> bool {
        self.flags.is_initial_syn()
    }

    /// The packet with source and destination exchanged, as its answer has them.
    #[inline(always)]
    pub fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..*self
        }
    }

    /// The packet as if it were the SYN of its connection.
    #[inline(always)]
    pub fn as_syn(&self) -> Self {
        Self { flags: TcpFlags::INITIAL_SYN, ..*self }
    }

    /// The source address in the form used in maps.
    #[inline(always)]
    pub fn source_address(&self) -> Address {
        address(self.family, self.source)
    }

    /// The destination address in the form used in maps.
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

    /// Whether either address is in fe80::/10, which every link uses anew.
    #[inline(always)]
    pub fn is_link_local(&self) -> bool {
        let is_it = |address: &[u32; 4]| u32::from_be(address[0]) >> 22 == 0xfe80 >> 6;
        self.family == AF_INET6 && (is_it(&self.source) || is_it(&self.destination))
    }

    /// An IPv4 header with this packet's addresses, for helpers that need one.
    #[inline(always)]
    pub fn ipv4_header(&self) -> Ipv4Header {
        Ipv4Header::of(IPPROTO_TCP, self.source[0], self.destination[0])
    }

    /// An IPv6 header with this packet's addresses, for helpers that need one.
    #[inline(always)]
    pub fn ipv6_header(&self) -> Ipv6Header {
        Ipv6Header::of(IPPROTO_TCP, self.source, self.destination)
    }

    #[inline(always)]
    fn tcp(ctx: &TcContext, ip: &IpHeaders) -> Self {
        let unreadable = Self::unreadable(ip);
        if ip.is_first_fragment {
            return Self::fragment(ctx, ip).unwrap_or(unreadable);
        }
        let Some(tcp) = load::<TcpHeader>(ctx, ip.next) else { return unreadable };
        Self {
            kind: Kind::Tcp,
            source_port: tcp.source,
            destination_port: tcp.destination,
            flags: tcp.flags,
            ..unreadable
        }
    }

    /// A first fragment may be as short as 8 bytes, and then ends before the flags.
    #[inline(always)]
    fn fragment(ctx: &TcContext, ip: &IpHeaders) -> Option<Self> {
        if ip.next + size_of::<[u16; 2]>() as u32 > ip.end {
            return None;
        }
        let [source_port, destination_port]: [u16; 2] = load(ctx, ip.next)?;
        let flags_at = ip.next + offset_of!(TcpHeader, flags) as u32;
        let flags = if flags_at < ip.end { load(ctx, flags_at) } else { None };
        Some(Self {
            kind: Kind::Fragment,
            source_port,
            destination_port,
            flags: flags.unwrap_or(TcpFlags::INITIAL_SYN),
            is_plain: false,
            ..Self::unreadable(ip)
        })
    }

    #[inline(always)]
    fn unreadable(ip: &IpHeaders) -> Self {
        Self {
            family: ip.family,
            kind: Kind::Unreadable,
            source: ip.source,
            destination: ip.destination,
            source_port: 0,
            destination_port: 0,
            flags: TcpFlags::default(),
            is_source_routed: ip.is_source_routed,
            is_plain: ip.is_plain,
            transport: ip.next,
        }
    }

    /// An error quotes a packet that we sent: its source is our end.
    #[inline(always)]
    fn error(ctx: &TcContext, quoted: &IpHeaders) -> Option<Self> {
        if quoted.protocol != IPPROTO_TCP {
            return None;
        }
        // At least 8 bytes of the segment are quoted, so the ports are always there.
        let ports: [u16; 2] = load(ctx, quoted.next)?;
        Some(Self {
            kind: Kind::IcmpError,
            source: quoted.destination,
            destination: quoted.source,
            source_port: ports[1],
            destination_port: ports[0],
            ..Self::unreadable(quoted)
        })
    }
}

/// An address in the form used in maps: IPv4 in its mapped form.
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
