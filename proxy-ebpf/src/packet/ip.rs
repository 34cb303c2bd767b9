//! Reads a packet's VLAN tags and IP headers, up to the transport header.
//!
//! The kernel follows a chain of extension headers of any length; a program can't. A packet whose
//! chain is not read to its end is [`IpError::Unreadable`], never "not TCP": a rule may want it
//! dropped.

use core::hint::black_box;

use aya_ebpf::programs::TcContext;

use super::bytes::{load, load_word};
use super::header::{Ipv4Header, Ipv6Header};
use super::{AF_INET, AF_INET6, ETH_P_IP, ETH_P_IPV6};

/// IEEE 802.1Q, in network byte order.
const ETH_P_8021Q: u32 = (0x8100_u16).to_be() as u32;
/// IEEE 802.1ad, in network byte order.
const ETH_P_8021AD: u32 = (0x88a8_u16).to_be() as u32;
/// The bits of a VLAN tag, in the host's byte order, that are the VLAN's id. Id 0 means that the
/// tag only sets a priority.
pub const VLAN_ID: u32 = 0x0fff;

/// Tags that are read; real frames carry at most two.
const MAX_TAGS: usize = 4;
/// Bytes of a tag after its EtherType, including the next EtherType.
const TAG_LEN: u32 = 4;
/// Extension headers that are followed; RFC 8200 lists at most seven in a packet.
const MAX_EXTENSIONS: usize = 16;

const IPPROTO_HOPOPTS: u64 = 0;
const IPPROTO_ROUTING: u64 = 43;
const IPPROTO_FRAGMENT: u64 = 44;
const IPPROTO_AH: u64 = 51;
const IPPROTO_DSTOPTS: u64 = 60;

/// The IP headers of a packet, or of the packet that an ICMP error quotes.
#[derive(Clone, Copy)]
pub struct IpHeaders {
    /// [`AF_INET`] or [`AF_INET6`].
    pub family: u32,
    /// Number of the transport protocol.
    pub protocol: u8,
    /// Whether this is the first of several fragments.
    pub is_first_fragment: bool,
    /// Whether a routing header has segments left, so that the final destination is another one.
    pub is_source_routed: bool,
    /// Whether there are no tags, options or extension headers.
    pub is_plain: bool,
    /// Offset of the transport header, from the start of the outer network header.
    pub next: u32,
    /// Offset of the packet's end by the length in its header. The kernel trims whatever a frame
    /// has after it before it reassembles fragments.
    pub end: u32,
    /// Source address.
    pub source: [u32; 4],
    /// Destination address.
    pub destination: [u32; 4],
}

/// Why the transport header was not reached.
pub enum IpError {
    /// Not an IP packet of this interface, or a later fragment.
    NotOurs,
    /// The chain of headers is too long or cut short. The addresses are known, unless there were
    /// too many VLAN tags.
    Unreadable(IpHeaders),
}

impl IpHeaders {
    /// Those of a packet that could not be read at all.
    const UNKNOWN: Self = Self {
        family: AF_INET,
        protocol: 0,
        is_first_fragment: false,
        is_source_routed: false,
        is_plain: false,
        next: 0,
        end: 0,
        source: [0; 4],
        destination: [0; 4],
    };

    /// Reads the packet's own headers.
    #[inline(always)]
    pub fn outer(ctx: &TcContext) -> Result<Self, IpError> {
        let (protocol, at) = skip_tags(ctx)?;
        match protocol {
            ETH_P_IP => Self::ipv4(ctx, at),
            ETH_P_IPV6 => Self::ipv6(ctx, at),
            _ => Err(IpError::NotOurs),
        }
    }

    /// Reads an IPv4 header at `at`.
    #[inline(always)]
    pub fn ipv4(ctx: &TcContext, at: u32) -> Result<Self, IpError> {
        let ip: Ipv4Header = load(ctx, at).ok_or(IpError::NotOurs)?;
        if ip.is_later_fragment() || ip.length() < size_of::<Ipv4Header>() as u32 {
            return Err(IpError::NotOurs);
        }
        Ok(Self {
            family: AF_INET,
            protocol: ip.protocol,
            is_first_fragment: ip.has_more_fragments(),
            is_source_routed: false,
            is_plain: at == 0 && ip.is_plain(),
            next: at + ip.length(),
            end: at + u32::from(u16::from_be(ip.total_length)),
            source: [ip.source, 0, 0, 0],
            destination: [ip.destination, 0, 0, 0],
        })
    }

    /// Reads an IPv6 header at `at`, and its extension headers.
    #[inline(always)]
    pub fn ipv6(ctx: &TcContext, at: u32) -> Result<Self, IpError> {
        let ip: Ipv6Header = load(ctx, at).ok_or(IpError::NotOurs)?;
        let mut network = Self {
            family: AF_INET6,
            protocol: ip.next_header,
            is_first_fragment: false,
            is_source_routed: false,
            is_plain: at == 0 && is_extension(ip.next_header.into()) == 0,
            next: at + size_of::<Ipv6Header>() as u32,
            end: match u16::from_be(ip.payload_length) {
                0 => u32::MAX,
                length => at + size_of::<Ipv6Header>() as u32 + u32::from(length),
            },
            source: ip.source,
            destination: ip.destination,
        };
        network.skip_extensions(ctx)?;
        Ok(network)
    }

    #[inline(always)]
    fn skip_extensions(&mut self, ctx: &TcContext) -> Result<(), IpError> {
        if is_extension(self.protocol.into()) == 0 {
            return Ok(());
        }
        let mut chain = ExtensionChain {
            protocol: self.protocol.into(),
            next: self.next.into(),
            end: self.end.into(),
            found: 0,
        };
        for _ in 0..MAX_EXTENSIONS {
            chain.step(ctx);
        }
        self.protocol = chain.protocol as u8;
        self.next = chain.next as u32;
        self.is_first_fragment = chain.found & ExtensionChain::FRAGMENTS != 0;
        self.is_source_routed = chain.found & ExtensionChain::SEGMENTS_LEFT != 0;
        if chain.found & ExtensionChain::LATER_FRAGMENT != 0 {
            Err(IpError::NotOurs)
        } else if chain.found & ExtensionChain::CUT != 0 || is_extension(chain.protocol) != 0 {
            Err(IpError::Unreadable(*self))
        } else {
            Ok(())
        }
    }
}

/// A position in a chain of extension headers.
///
/// The step to the next header has no branch: the verifier explores each path through a program,
/// and a branch in a loop that depends on the packet doubles their number with every iteration.
struct ExtensionChain {
    /// Protocol number of the header at `next`.
    protocol: u64,
    next: u64,
    end: u64,
    /// What has been seen: any of the constants below.
    found: u64,
}

impl ExtensionChain {
    /// More fragments follow.
    const FRAGMENTS: u64 = 1;
    /// A later fragment.
    const LATER_FRAGMENT: u64 = 2;
    /// A routing header has segments left.
    const SEGMENTS_LEFT: u64 = 4;
    /// The packet ends within the chain, which RFC 7112 forbids.
    const CUT: u64 = 8;

    /// Moves past an extension header, or stays in place if there is none.
    #[inline(always)]
    fn step(&mut self, ctx: &TcContext) {
        /// The bits of a fragment header: the offset, and "more fragments".
        const OFFSET: u64 = 0xfff8;
        const MORE: u64 = 1;
        let ([next, length, third, fourth], error) = load_word(ctx, self.next as u32);
        let position = u64::from(u16::from_be_bytes([third, fourth]));
        let length = u64::from(length);
        let is_over_end = self.end.wrapping_sub(self.next + 4) >> 63 | error as u64 >> 63;
        let extension = mask(is_extension(self.protocol));
        let here = extension & !mask(is_over_end);
        let fragment = mask(equals(self.protocol, IPPROTO_FRAGMENT)) & here;
        let routing = mask(equals(self.protocol, IPPROTO_ROUTING)) & here;
        let ah = mask(equals(self.protocol, IPPROTO_AH)) & here;
        let other = here & !fragment & !ah;

        self.next += (fragment & 8) + (ah & ((length + 2) * 4)) + (other & ((length + 1) * 8));
        self.protocol = (self.protocol & !here) | (u64::from(next) & here);
        let has_offset = equals(position & OFFSET, 0) ^ 1;
        let has_segments_left = equals(u64::from(fourth), 0) ^ 1;
        self.found |= (fragment & ((position & MORE) * Self::FRAGMENTS))
            | (fragment & (has_offset * Self::LATER_FRAGMENT))
            | (routing & (has_segments_left * Self::SEGMENTS_LEFT))
            | (extension & (is_over_end * Self::CUT));
    }
}

/// 1 if both numbers, which are below 2^63, are equal, else 0; without a branch.
#[inline(always)]
fn equals(a: u64, b: u64) -> u64 {
    black_box(a ^ b).wrapping_sub(1) >> 63
}

/// All bits set for 1, none for 0; without a branch.
#[inline(always)]
fn mask(bit: u64) -> u64 {
    black_box(bit).wrapping_neg()
}

/// 1 for an extension header that is followed, else 0; without a branch.
#[inline(always)]
fn is_extension(protocol: u64) -> u64 {
    const FOLLOWED: u64 = 1 << IPPROTO_HOPOPTS
        | 1 << IPPROTO_ROUTING
        | 1 << IPPROTO_FRAGMENT
        | 1 << IPPROTO_AH
        | 1 << IPPROTO_DSTOPTS;
    FOLLOWED >> (protocol & 63) & equals(protocol >> 6, 0)
}

/// Whether an EtherType, in network byte order, announces a VLAN tag.
#[inline(always)]
pub fn is_vlan_tag(protocol: u32) -> bool {
    protocol == ETH_P_8021Q || protocol == ETH_P_8021AD
}

/// The EtherType after the VLAN tags in the packet's bytes, and the offset of its header. The
/// kernel removes a tag of VLAN 0, which only sets a priority; a frame of another VLAN goes to the
/// sub-interface.
#[inline(always)]
fn skip_tags(ctx: &TcContext) -> Result<(u32, u32), IpError> {
    let (mut protocol, mut at) = (ctx.skb.protocol(), 0);
    for _ in 0..MAX_TAGS {
        if !is_vlan_tag(protocol) {
            return Ok((protocol, at));
        }
        let [tag, next]: [u16; 2] = load(ctx, at).ok_or(IpError::NotOurs)?;
        if u32::from(u16::from_be(tag)) & VLAN_ID != 0 {
            return Err(IpError::NotOurs);
        }
        (protocol, at) = (next.into(), at + TAG_LEN);
    }
    if is_vlan_tag(protocol) {
        Err(IpError::Unreadable(IpHeaders::UNKNOWN))
    } else {
        Ok((protocol, at))
    }
}
