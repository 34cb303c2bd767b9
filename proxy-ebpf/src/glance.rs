//! What most packets are, told at a glance: TCP or UDP behind plain Ethernet and an IP header
//! without options, extensions or fragments, all of it in the packet's linear part.
//!
//! There the octets are in constant places, and are read where they are, without a call to the
//! kernel for each header. What can't be told so is left to [`Packet::parse`], which would say the
//! same of everything that can.

use core::mem::offset_of;

use aya_ebpf::bindings::bpf_sock_tuple;
use aya_ebpf::programs::TcContext;
use proxy_common::abi::{NODE_BARE, Node};

use crate::frame::{ETHERNET_LEN, ETHERTYPE, Wire, at};
use crate::header::{Ipv4Header, Ipv6Header, TcpHeader};
use crate::network::is_tag;
use crate::packet::{AF_INET, AF_INET6, ETH_P_IP, ETH_P_IPV6, IPPROTO_TCP, IPPROTO_UDP, Packet};

/// What a glance tells.
pub enum Glance<'a> {
    /// A segment in IPv4.
    Ipv4(&'a Segment<Ipv4Header>),
    /// A segment in IPv6.
    Ipv6(&'a Segment<Ipv6Header>),
    /// No business of ours.
    NotOurs,
    /// Nothing.
    Unclear,
}

/// A segment's headers, in the packet.
#[repr(C)]
pub struct Segment<Ip> {
    ip: Ip,
    /// What is behind the IP header.
    pub tcp: TcpHeader,
}

impl<Ip: Wire> Wire for Segment<Ip> {}

/// An IP header that ends in the two addresses. With the ports behind them they are what the
/// kernel looks sockets up by.
pub trait Ends: Sized {
    /// Where the addresses begin.
    const START: usize;
    /// Octets of addresses and ports.
    const SIZE: u32 = (size_of::<Self>() - Self::START + size_of::<[u16; 2]>()) as u32;
}

impl Ends for Ipv4Header {
    const START: usize = offset_of!(Self, source);
}

impl Ends for Ipv6Header {
    const START: usize = offset_of!(Self, source);
}

impl<Ip: Ends> Segment<Ip> {
    /// Addresses and ports, [`Ends::SIZE`] octets of them.
    #[inline(always)]
    pub fn ends(&self) -> *const bpf_sock_tuple {
        core::ptr::from_ref(self).wrapping_byte_add(Ip::START).cast()
    }
}

impl Packet {
    /// Reads the headers; `None` if the packet can be no business of ours.
    #[inline(always)]
    pub fn read(ctx: &TcContext, node: &Node) -> Option<Self> {
        match glance(ctx, node) {
            Glance::Unclear => Self::parse(ctx),
            seen => Self::seen(&seen),
        }
    }

    /// The headers of a segment that is told at a glance; `None` for all else.
    #[inline(always)]
    pub fn seen(glance: &Glance) -> Option<Self> {
        match glance {
            Glance::Ipv4(Segment { ip, tcp }) => {
                let (source, destination) = ([ip.source, 0, 0, 0], [ip.destination, 0, 0, 0]);
                let transport = size_of::<Ipv4Header>() as u32;
                Some(Self::plain(AF_INET, source, destination, transport, tcp))
            }
            Glance::Ipv6(Segment { ip, tcp }) => {
                let transport = size_of::<Ipv6Header>() as u32;
                Some(Self::plain(AF_INET6, ip.source, ip.destination, transport, tcp))
            }
            Glance::NotOurs | Glance::Unclear => None,
        }
    }
}

/// Looks at a packet.
#[inline(always)]
pub fn glance<'a>(ctx: &'a TcContext, node: &Node) -> Glance<'a> {
    let protocol = ctx.skb.protocol();
    if protocol != ETH_P_IP && protocol != ETH_P_IPV6 {
        return if is_tag(protocol) { Glance::Unclear } else { Glance::NotOurs };
    }
    // Octets of an IP header can look like an Ethernet header: that there is one must be known.
    if node.flags & NODE_BARE != 0 {
        return Glance::Unclear;
    }
    let (start, end) = (ctx.data(), ctx.data_end());
    let network = start + ETHERNET_LEN;
    if !matches!(at::<u16>(start + ETHERTYPE, end), Some(&it) if u32::from(it) == protocol) {
        return Glance::Unclear;
    }
    if protocol == ETH_P_IP {
        match at::<Segment<Ipv4Header>>(network, end).filter(|segment| segment.ip.is_plain()) {
            Some(segment) => sort(segment.ip.protocol, Glance::Ipv4(segment)),
            None => Glance::Unclear,
        }
    } else {
        match at::<Segment<Ipv6Header>>(network, end) {
            Some(segment) => sort(segment.ip.next_header, Glance::Ipv6(segment)),
            None => Glance::Unclear,
        }
    }
}

/// By the protocol of what follows the IP header.
#[inline(always)]
fn sort(protocol: u8, segment: Glance) -> Glance {
    match protocol {
        IPPROTO_TCP => segment,
        IPPROTO_UDP => Glance::NotOurs,
        _ => Glance::Unclear,
    }
}
