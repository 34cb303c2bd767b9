//! Reads what we need of a packet: the two addresses, the two ports, the TCP header.
//!
//! Every read is bounds-checked by the kernel (`bpf_skb_load_bytes_relative`), starts at the
//! network header, and so is the same behind Ethernet, a VLAN tag or nothing. IPv4 options and
//! IPv6 extension headers are skipped. A packet that is cut short, fragmented or of another
//! protocol is `None`: not ours.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::bpf_hdr_start_off::BPF_HDR_START_NET;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes_relative;
use aya_ebpf::programs::TcContext;

const ETH_P_IP: u32 = (0x0800_u16).to_be() as u32;
const ETH_P_IPV6: u32 = (0x86dd_u16).to_be() as u32;

const IPPROTO_ICMP: u8 = 1;
/// TCP's protocol number.
pub const IPPROTO_TCP: u8 = 6;
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
}

/// The IPv4 header without options, as on the wire.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Ipv4Header {
    version_ihl: u8,
    tos: u8,
    total_length: u16,
    id: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}

/// The IPv6 header, as on the wire.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Ipv6Header {
    version_class_flow: u32,
    payload_length: u16,
    next_header: u8,
    hop_limit: u8,
    source: [u32; 4],
    destination: [u32; 4],
}

/// The TCP header without options, as on the wire.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct TcpHeader {
    /// Source port, network byte order.
    pub source: u16,
    /// Destination port, network byte order.
    pub destination: u16,
    sequence: u32,
    acknowledgement: u32,
    offset: u8,
    flags: u8,
    window: u16,
    checksum: u16,
    urgent: u16,
}

impl TcpHeader {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    /// A connection's first packet.
    #[inline(always)]
    pub fn opens(&self) -> bool {
        self.flags & (Self::FIN | Self::SYN | Self::RST | Self::ACK) == Self::SYN
    }

    /// An acknowledgement that neither opens nor aborts; it may carry data or FIN.
    #[inline(always)]
    pub fn acknowledges(&self) -> bool {
        self.flags & (Self::SYN | Self::RST | Self::ACK) == Self::ACK
    }
}

/// A packet's headers. Addresses and ports are in network byte order; an IPv4 address is in the
/// first word of its array and the others are 0.
#[derive(Clone, Copy)]
pub struct Packet {
    /// [`AF_INET`] or [`AF_INET6`].
    pub family: u32,
    /// A segment, or an error about one.
    pub kind: Kind,
    /// Who sent it; for an error, the far end of the connection.
    pub source: [u32; 4],
    /// Where it goes; for an error, our end of the connection.
    pub destination: [u32; 4],
    /// Port of `source`.
    pub source_port: u16,
    /// Port of `destination`.
    pub destination_port: u16,
    /// The TCP header; zero for an error.
    pub tcp: TcpHeader,
}

/// One IP header read: where it leads.
struct Network {
    protocol: u8,
    /// Offset of what follows, from the outer network header.
    next: u32,
    source: [u32; 4],
    destination: [u32; 4],
}

impl Packet {
    /// Reads the headers; `None` if the packet can be no business of ours.
    #[inline(always)]
    pub fn parse(ctx: &TcContext) -> Option<Self> {
        match ctx.skb.protocol() {
            ETH_P_IP => {
                let outer = Network::ipv4(ctx, 0)?;
                match outer.protocol {
                    IPPROTO_TCP => Self::segment(ctx, AF_INET, &outer),
                    IPPROTO_ICMP if is_ipv4_error(load(ctx, outer.next)?) => Self::error(
                        ctx,
                        AF_INET,
                        &Network::ipv4(ctx, outer.next + ICMP_HEADER_LEN)?,
                    ),
                    _ => None,
                }
            }
            ETH_P_IPV6 => {
                let outer = Network::ipv6(ctx, 0)?;
                match outer.protocol {
                    IPPROTO_TCP => Self::segment(ctx, AF_INET6, &outer),
                    IPPROTO_ICMPV6 if is_ipv6_error(load(ctx, outer.next)?) => Self::error(
                        ctx,
                        AF_INET6,
                        &Network::ipv6(ctx, outer.next + ICMP_HEADER_LEN)?,
                    ),
                    _ => None,
                }
            }
            _ => None,
        }
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
        Ipv4Header {
            version_ihl: 0x45,
            protocol: IPPROTO_TCP,
            source: self.source[0],
            destination: self.destination[0],
            ..Default::default()
        }
    }

    /// An IPv6 header with this packet's addresses, for helpers that want one.
    #[inline(always)]
    pub fn ipv6_header(&self) -> Ipv6Header {
        Ipv6Header {
            version_class_flow: 0x6000_0000_u32.to_be(),
            next_header: IPPROTO_TCP,
            source: self.source,
            destination: self.destination,
            ..Default::default()
        }
    }

    #[inline(always)]
    fn segment(ctx: &TcContext, family: u32, ip: &Network) -> Option<Self> {
        let tcp: TcpHeader = load(ctx, ip.next)?;
        Some(Self {
            family,
            kind: Kind::Tcp,
            source: ip.source,
            destination: ip.destination,
            source_port: tcp.source,
            destination_port: tcp.destination,
            tcp,
        })
    }

    /// An error quotes the packet that we sent: its source is our end.
    #[inline(always)]
    fn error(ctx: &TcContext, family: u32, quoted: &Network) -> Option<Self> {
        if quoted.protocol != IPPROTO_TCP {
            return None;
        }
        // At least 8 octets of the segment are quoted, so the ports are always there.
        let ports: [u16; 2] = load(ctx, quoted.next)?;
        Some(Self {
            family,
            kind: Kind::IcmpError,
            source: quoted.destination,
            destination: quoted.source,
            source_port: ports[1],
            destination_port: ports[0],
            tcp: TcpHeader::default(),
        })
    }
}

impl Network {
    #[inline(always)]
    fn ipv4(ctx: &TcContext, at: u32) -> Option<Self> {
        /// "More fragments" and the fragment's offset.
        const FRAGMENT: u16 = 0x3fff_u16.to_be();
        let ip: Ipv4Header = load(ctx, at)?;
        if ip.fragment & FRAGMENT != 0 {
            return None;
        }
        Some(Self {
            protocol: ip.protocol,
            next: at + u32::from(ip.version_ihl & 0xf) * 4,
            source: [ip.source, 0, 0, 0],
            destination: [ip.destination, 0, 0, 0],
        })
    }

    #[inline(always)]
    fn ipv6(ctx: &TcContext, at: u32) -> Option<Self> {
        let ip: Ipv6Header = load(ctx, at)?;
        let (protocol, next) = skip_extensions(ctx, ip.next_header, at + 40)?;
        Some(Self { protocol, next, source: ip.source, destination: ip.destination })
    }
}

/// Follows hop-by-hop options, routing and destination options to the transport header.
#[inline(always)]
fn skip_extensions(ctx: &TcContext, first: u8, at: u32) -> Option<(u8, u32)> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const DESTINATION: u8 = 60;
    let (mut protocol, mut at) = (first, at);
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION) {
            return Some((protocol, at));
        }
        let [next, length]: [u8; 2] = load(ctx, at)?;
        protocol = next;
        at += (u32::from(length) + 1) * 8;
    }
    None
}

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

/// Copies a `T` from `at` octets behind the start of the network header.
#[inline(always)]
fn load<T: Wire>(ctx: &TcContext, at: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let (skb, size) = (ctx.skb.skb.cast(), size_of::<T>() as u32);
    // SAFETY: the kernel writes `size` octets at most, and that is the room there is.
    let result = unsafe {
        bpf_skb_load_bytes_relative(skb, at, value.as_mut_ptr().cast(), size, BPF_HDR_START_NET)
    };
    // SAFETY: on success every octet was written, and any octets are a valid `T`.
    (result == 0).then(|| unsafe { value.assume_init() })
}

/// Plain octets: no padding, and every bit pattern is a value.
trait Wire {}
impl Wire for u8 {}
impl Wire for [u8; 2] {}
impl Wire for [u16; 2] {}
impl Wire for Ipv4Header {}
impl Wire for Ipv6Header {}
impl Wire for TcpHeader {}

const _: () = assert!(size_of::<Ipv4Header>() == 20);
const _: () = assert!(size_of::<Ipv6Header>() == 40);
const _: () = assert!(size_of::<TcpHeader>() == 20);
