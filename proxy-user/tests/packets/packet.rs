//! Describes a frame in a structured form that can be generated, shrunk and printed.
//!
//! A description says what is unusual about a frame; [`crate::render`] adds the rest. Lengths and
//! checksums are right unless the description says otherwise.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A frame, and how it comes to the programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub arrival: Arrival,
    pub to: Recipient,
    pub tags: Vec<Tag>,
    pub network: Network,
    /// Bytes behind the IP packet that its length does not count.
    pub padding: Vec<u8>,
    /// The frame ends after so many bytes, whatever the lengths in it say.
    pub cut: Option<usize>,
}

/// What the kernel knows of a frame besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arrival {
    pub interface: Interface,
    pub mark: Mark,
    /// For a frame on its way out: the interface that it came in by.
    pub ingress: Ingress,
}

impl Arrival {
    /// By the protected interface, with nothing odd about it.
    pub const PLAIN: Self =
        Self { interface: Interface::Protected, mark: Mark::None, ingress: Ingress::Host };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    Protected,
    Loopback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    None,
    /// The one that Foreword puts on its own packets.
    Own,
    Other,
}

/// Where a frame on its way out came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ingress {
    /// Nowhere: the host made it.
    Host,
    /// The node's other interface.
    Elsewhere,
    /// A veth of Foreword's.
    Veth,
    /// An index just below and just above those of Foreword's veths.
    BelowVeths,
    AboveVeths,
}

/// The link-layer address that a frame is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    Ours,
    Stranger,
    Broadcast,
    Multicast,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// 0x8100 or 0x88a8.
    pub protocol: u16,
    /// Priority, drop eligible and, in the lowest twelve bits, the id.
    pub control: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    Ipv4(Ipv4),
    Ipv6(Ipv6),
    /// Another protocol, by its number.
    Other(u16, Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    pub version: u8,
    /// Four bytes each.
    pub options: Vec<[u8; 4]>,
    /// The header's length in words, if it isn't what the options require.
    pub header_words: Option<u8>,
    pub fragment: Option<Fragment>,
    pub length: Length,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub payload: Payload,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    pub version: u8,
    pub extensions: Vec<Extension>,
    pub length: Length,
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub payload: Payload,
}

/// What an IP header says of its packet's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Right,
    /// So much more than it is.
    Off(i16),
    Is(u16),
}

/// A place in a fragmented packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// In units of 8 bytes.
    pub offset: u16,
    pub more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Options that mean nothing, `units` times 8 bytes besides the first 8.
    HopByHop {
        units: u8,
    },
    Destination {
        units: u8,
    },
    Routing {
        kind: u8,
        segments_left: u8,
        units: u8,
    },
    Fragment(Fragment),
    /// `units` times 4 bytes besides the first 8.
    Authentication {
        units: u8,
    },
    /// Any other header of that number that looks like an extension.
    Other {
        protocol: u8,
        units: u8,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Tcp(Tcp),
    Udp {
        source: u16,
        destination: u16,
    },
    /// An ICMP message of this type about a packet, of the family that it is in.
    IcmpError {
        kind: u8,
        quoted: Box<Network>,
    },
    /// Anything else, by the protocol's number.
    Other {
        protocol: u8,
        bytes: Vec<u8>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    pub source: u16,
    pub destination: u16,
    pub flags: u8,
    /// The acknowledgement number.
    pub acknowledgment: u32,
    /// The header's length in words, as the header states it.
    pub header_words: u8,
    /// How many bytes of it are in the packet, whose own length says the same.
    pub bytes: usize,
}

impl Tcp {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;

    /// Bytes of a header without options.
    pub const HEADER: usize = 20;

    pub const fn new(source: u16, destination: u16, flags: u8) -> Self {
        let (acknowledgment, header_words, bytes) = (0, 5, Self::HEADER);
        Self { source, destination, flags, acknowledgment, header_words, bytes }
    }
}

impl Packet {
    /// A TCP segment with nothing odd about it.
    pub fn segment(source: IpAddr, destination: IpAddr, tcp: Tcp) -> Self {
        let payload = Payload::Tcp(tcp);
        let length = Length::Right;
        let network = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let (options, header_words, fragment) = (Vec::new(), None, None);
                Network::Ipv4(Ipv4 {
                    version: 4,
                    options,
                    header_words,
                    fragment,
                    length,
                    source,
                    destination,
                    payload,
                })
            }
            (source, destination) => Network::Ipv6(Ipv6 {
                version: 6,
                extensions: Vec::new(),
                length,
                source: v6(source),
                destination: v6(destination),
                payload,
            }),
        };
        Self {
            arrival: Arrival::PLAIN,
            to: Recipient::Ours,
            tags: Vec::new(),
            network,
            padding: Vec::new(),
            cut: None,
        }
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

impl Network {
    /// Makes extension headers as short as they can be.
    pub fn shorten(&mut self) {
        let payload = match self {
            Self::Ipv4(ip) => &mut ip.payload,
            Self::Ipv6(ip) => {
                ip.extensions.iter_mut().for_each(Extension::shorten);
                &mut ip.payload
            }
            Self::Other(..) => return,
        };
        if let Payload::IcmpError { quoted, .. } = payload {
            quoted.shorten();
        }
    }
}

impl Extension {
    /// Makes it as short as it can be.
    pub fn shorten(&mut self) {
        match self {
            Self::Fragment(_) => {}
            Self::HopByHop { units }
            | Self::Destination { units }
            | Self::Routing { units, .. }
            | Self::Authentication { units }
            | Self::Other { units, .. } => *units = 0,
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arrival, to, tags, network, padding, cut } = self;
        if *arrival != Arrival::PLAIN {
            write!(f, "{arrival:?}; ")?;
        }
        if *to != Recipient::Ours {
            write!(f, "to {to:?}; ")?;
        }
        for Tag { protocol, control } in tags {
            write!(f, "tag {protocol:x}/{control:x}; ")?;
        }
        write!(f, "{network}")?;
        if !padding.is_empty() {
            write!(f, "; padding {padding:02x?}")?;
        }
        cut.map_or(Ok(()), |cut| write!(f, "; cut to {cut} bytes"))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(protocol, bytes) => write!(f, "protocol {protocol:04x} {bytes:02x?}"),
            Self::Ipv4(ip) => {
                write!(f, "IPv{} {} > {}", ip.version, ip.source, ip.destination)?;
                if !ip.options.is_empty() {
                    write!(f, ", options {:02x?}", ip.options)?;
                }
                if let Some(words) = ip.header_words {
                    write!(f, ", header of {words} words")?;
                }
                if let Some(fragment) = ip.fragment {
                    write!(f, ", {fragment:?}")?;
                }
                write_length(f, ip.length)?;
                write!(f, ": {}", ip.payload)
            }
            Self::Ipv6(ip) => {
                write!(f, "IPv{} {} > {}", ip.version, ip.source, ip.destination)?;
                for extension in &ip.extensions {
                    write!(f, ", {extension:?}")?;
                }
                write_length(f, ip.length)?;
                write!(f, ": {}", ip.payload)
            }
        }
    }
}

fn write_length(f: &mut fmt::Formatter<'_>, length: Length) -> fmt::Result {
    if length == Length::Right { Ok(()) } else { write!(f, ", length {length:?}") }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(Tcp { source, destination, flags, acknowledgment, header_words, bytes }) => {
                write!(f, "TCP {source} > {destination} flags {flags:02x}")?;
                if *acknowledgment != 0 {
                    write!(f, " ack {acknowledgment:08x}")?;
                }
                if *header_words != 5 {
                    write!(f, ", header of {header_words} words")?;
                }
                if *bytes == Tcp::HEADER { Ok(()) } else { write!(f, ", {bytes} bytes") }
            }
            Self::Udp { source, destination } => write!(f, "UDP {source} > {destination}"),
            Self::IcmpError { kind, quoted } => write!(f, "ICMP {kind} about [{quoted}]"),
            Self::Other { protocol, bytes } => write!(f, "protocol {protocol} {bytes:02x?}"),
        }
    }
}
