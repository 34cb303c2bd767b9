//! The headers that are read, as on the wire, in network byte order.

use super::bytes::FromBytes;

/// The IPv4 header without options, as on the wire.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Ipv4Header {
    version_ihl: u8,
    tos: u8,
    /// Bytes of the whole packet, in network byte order.
    pub total_length: u16,
    id: u16,
    fragment: u16,
    ttl: u8,
    /// Number of the protocol of what follows.
    pub protocol: u8,
    checksum: u16,
    /// Source address.
    pub source: u32,
    /// Destination address.
    pub destination: u32,
}

impl Ipv4Header {
    /// The fragment's offset.
    const OFFSET: u16 = 0x1fff_u16.to_be();
    /// "More fragments".
    const MORE: u16 = 0x2000_u16.to_be();

    /// A header with these addresses, for helpers that need one; fields that they don't read are 0.
    #[inline(always)]
    pub fn of(protocol: u8, source: u32, destination: u32) -> Self {
        Self { version_ihl: 0x45, protocol, source, destination, ..Self::default() }
    }

    /// Its length with options, in bytes.
    #[inline(always)]
    pub fn length(&self) -> u32 {
        u32::from(self.version_ihl & 0xf) * 4
    }

    /// Whether the packet is a fragment, and not the first one.
    #[inline(always)]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment & Self::OFFSET != 0
    }

    /// Whether more fragments follow.
    #[inline(always)]
    pub fn has_more_fragments(&self) -> bool {
        self.fragment & Self::MORE != 0
    }

    /// Whether it has no options and the packet is not fragmented.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        self.version_ihl == 0x45 && self.fragment & (Self::OFFSET | Self::MORE) == 0
    }
}

/// The IPv6 header, as on the wire.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Ipv6Header {
    version_class_flow: u32,
    /// Bytes after this header, in network byte order; 0 for a jumbogram.
    pub payload_length: u16,
    /// Number of the protocol that follows, or of an extension header.
    pub next_header: u8,
    hop_limit: u8,
    /// Source address.
    pub source: [u32; 4],
    /// Destination address.
    pub destination: [u32; 4],
}

impl Ipv6Header {
    /// A header with these addresses, for helpers that need one; fields that they don't read are 0.
    #[inline(always)]
    pub fn of(next_header: u8, source: [u32; 4], destination: [u32; 4]) -> Self {
        let version_class_flow = 0x6000_0000_u32.to_be();
        Self { version_class_flow, next_header, source, destination, ..Self::default() }
    }
}

/// The TCP header without options, as on the wire.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct TcpHeader {
    /// Source port, network byte order.
    pub source: u16,
    /// Destination port, network byte order.
    pub destination: u16,
    /// Sequence number, network byte order.
    pub sequence: u32,
    /// Acknowledgment number, network byte order.
    pub acknowledgement: u32,
    offset: u8,
    /// The flags.
    pub flags: TcpFlags,
    window: u16,
    checksum: u16,
    urgent: u16,
}

/// The flags of a segment.
#[repr(transparent)]
#[derive(Clone, Copy, Default)]
pub struct TcpFlags(u8);

impl TcpFlags {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    /// Those of a connection's initial SYN.
    pub const INITIAL_SYN: Self = Self(Self::SYN);

    /// SYN without ACK, RST or FIN: the segment opens a connection.
    #[inline(always)]
    pub fn is_initial_syn(&self) -> bool {
        self.0 & (Self::FIN | Self::SYN | Self::RST | Self::ACK) == Self::SYN
    }

    /// SYN and ACK without RST: the answer to an initial SYN.
    #[inline(always)]
    pub fn is_syn_ack(&self) -> bool {
        self.0 & (Self::SYN | Self::RST | Self::ACK) == Self::SYN | Self::ACK
    }

    /// ACK without SYN or RST; the segment may carry data or FIN.
    #[inline(always)]
    pub fn is_ack(&self) -> bool {
        self.0 & (Self::SYN | Self::RST | Self::ACK) == Self::ACK
    }
}

impl FromBytes for Ipv4Header {}
impl FromBytes for Ipv6Header {}
impl FromBytes for TcpHeader {}
impl FromBytes for TcpFlags {}

const _: () = assert!(size_of::<Ipv4Header>() == 20);
const _: () = assert!(size_of::<Ipv6Header>() == 40);
const _: () = assert!(size_of::<TcpHeader>() == 20);
