//! Reads the headers of a plain packet in place (the kernel's "direct packet access"): TCP behind
//! Ethernet and an IP header without options, extension headers or fragmentation, all of it in the
//! packet's linear part. Most packets are plain.
//!
//! Their fields have constant offsets, so no helper is called for each header. Every other packet
//! is left to [`Packet::parse`], which reads a plain one just the same.

use core::mem::offset_of;

use aya_ebpf::bindings::bpf_sock_tuple;
use aya_ebpf::programs::TcContext;
use proxy_common::abi::{NODE_L3_DEVICES, Node};

use super::bytes::{ETHERNET_LEN, ETHERTYPE, FromBytes, borrow};
use super::header::{Ipv4Header, Ipv6Header, TcpHeader};
use super::ip::is_vlan_tag;
use super::{AF_INET, AF_INET6, ETH_P_IP, ETH_P_IPV6, IPPROTO_TCP, IPPROTO_UDP, Packet};

/// The headers of a plain packet.
pub enum PlainHeaders<'a> {
    /// A segment in IPv4.
    Ipv4(&'a Segment<Ipv4Header>),
    /// A segment in IPv6.
    Ipv6(&'a Segment<Ipv6Header>),
    /// Not TCP, and no ICMP error either.
    NotTcp,
    /// Has to be parsed header by header.
    NotPlain,
}

/// A segment's headers, in the packet.
#[repr(C)]
pub struct Segment<Ip> {
    ip: Ip,
    /// What follows the IP header.
    pub tcp: TcpHeader,
}

impl<Ip: FromBytes> FromBytes for Segment<Ip> {}

/// An IP header that ends in the two addresses. Together with the ports that follow they are laid
/// out as a `bpf_sock_tuple`, by which the kernel looks up sockets.
pub trait SockTuple: Sized {
    /// Where the addresses begin.
    const OFFSET: usize;
    /// Bytes of addresses and ports.
    const SIZE: u32 = (size_of::<Self>() - Self::OFFSET + size_of::<[u16; 2]>()) as u32;
}

impl SockTuple for Ipv4Header {
    const OFFSET: usize = offset_of!(Self, source);
}

impl SockTuple for Ipv6Header {
    const OFFSET: usize = offset_of!(Self, source);
}

impl<Ip: SockTuple> Segment<Ip> {
    /// Addresses and ports, [`SockTuple::SIZE`] bytes of them.
    #[inline(always)]
    pub fn sock_tuple(&self) -> *const bpf_sock_tuple {
        core::ptr::from_ref(self).wrapping_byte_add(Ip::OFFSET).cast()
    }
}

impl Packet {
    /// Reads the headers, in place if the packet is plain; `None` if it can't be ours.
    #[inline(always)]
    pub fn read(ctx: &TcContext, node: &Node) -> Option<Self> {
        match PlainHeaders::read(ctx, node) {
            PlainHeaders::NotPlain => Self::parse(ctx),
            plain => Self::from_plain(&plain),
        }
    }

    /// The segment that a plain packet carries.
    #[inline(always)]
    pub fn from_plain(headers: &PlainHeaders) -> Option<Self> {
        match headers {
            PlainHeaders::Ipv4(Segment { ip, tcp }) => {
                let (source, destination) = ([ip.source, 0, 0, 0], [ip.destination, 0, 0, 0]);
                let transport = size_of::<Ipv4Header>() as u32;
                Some(Self::segment(AF_INET, source, destination, transport, tcp))
            }
            PlainHeaders::Ipv6(Segment { ip, tcp }) => {
                let transport = size_of::<Ipv6Header>() as u32;
                Some(Self::segment(AF_INET6, ip.source, ip.destination, transport, tcp))
            }
            PlainHeaders::NotTcp | PlainHeaders::NotPlain => None,
        }
    }
}

impl<'a> PlainHeaders<'a> {
    /// Reads the headers where they are.
    #[inline(always)]
    pub fn read(ctx: &'a TcContext, node: &Node) -> Self {
        let protocol = ctx.skb.protocol();
        if protocol != ETH_P_IP && protocol != ETH_P_IPV6 {
            return if is_vlan_tag(protocol) { Self::NotPlain } else { Self::NotTcp };
        }
        // Bytes of an IP header can look like an Ethernet header, so it must be known that there is
        // one.
        if node.flags & NODE_L3_DEVICES != 0 {
            return Self::NotPlain;
        }
        let (start, end) = (ctx.data(), ctx.data_end());
        let network = start + ETHERNET_LEN;
        if !matches!(borrow::<u16>(start + ETHERTYPE, end), Some(&it) if u32::from(it) == protocol)
        {
            return Self::NotPlain;
        }
        if protocol == ETH_P_IP {
            let segment = borrow::<Segment<Ipv4Header>>(network, end);
            match segment.filter(|segment| segment.ip.is_plain()) {
                Some(segment) => Self::Ipv4(segment).if_tcp(segment.ip.protocol),
                None => Self::NotPlain,
            }
        } else {
            match borrow::<Segment<Ipv6Header>>(network, end) {
                Some(segment) => Self::Ipv6(segment).if_tcp(segment.ip.next_header),
                None => Self::NotPlain,
            }
        }
    }

    /// These headers, if the protocol that follows the IP header is TCP.
    #[inline(always)]
    fn if_tcp(self, protocol: u8) -> Self {
        match protocol {
            IPPROTO_TCP => self,
            IPPROTO_UDP => Self::NotTcp,
            _ => Self::NotPlain,
        }
    }
}
