//! Parses a frame as the programs should, in the most straightforward way and without their code.

use std::net::IpAddr;

use crate::facts::FourTuple;

/// Tags that are read.
const TAGS: usize = 4;
/// Extension headers that are followed.
const EXTENSIONS: usize = 16;

/// What kind of frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Not ours: another VLAN's, another protocol, or a later fragment.
    NotOurs,
    /// The kernel discards it, and no part of it can become part of another packet, so any verdict
    /// is right.
    Discarded,
    /// It may be TCP. The source is absent if it can't be read either.
    Unreadable {
        source: Option<IpAddr>,
    },
    Segment(Segment),
    /// An ICMP error, with the four-tuple of a segment from the far end to us.
    IcmpError(FourTuple),
}

/// A TCP segment, or the first fragment of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub tuple: FourTuple,
    /// Absent in a first fragment that ends before them.
    pub flags: Option<u8>,
    pub acknowledgment: u32,
    pub is_first_fragment: bool,
    /// Whether a routing header has segments left.
    pub is_source_routed: bool,
    /// Whether it has no tag, no option and no extension header.
    pub is_plain: bool,
}

impl Segment {
    /// SYN alone of SYN, ACK, RST and FIN.
    pub fn is_initial_syn(&self) -> bool {
        self.flags.is_some_and(|flags| flags & 0x17 == 0x02)
    }

    /// Whether it opens a connection, or is too short to tell.
    pub fn may_be_initial_syn(&self) -> bool {
        self.flags.is_none() || self.is_initial_syn()
    }
}

/// Bytes with two ends: the frame's, and the packet's by its IP header. The kernel trims what is
/// after the packet before it does anything else.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    frame: &'a [u8],
    packet: usize,
    is_fragment: bool,
}

impl Bytes<'_> {
    /// Reads bytes of the packet, not those after it in the frame: a fragment's missing bytes come
    /// with the next one, and any other packet that lacks some is discarded.
    fn at<const N: usize>(&self, at: usize) -> Result<[u8; N], Missing> {
        let slice = |end| self.frame.get(..end)?.get(at..at + N)?.try_into().ok();
        match (slice(self.packet.min(self.frame.len())), slice(self.frame.len())) {
            (Some(bytes), _) => Ok(bytes),
            (None, Some(_)) if !self.is_fragment => Err(Missing::Discarded),
            (None, _) => Err(Missing::End),
        }
    }
}

/// Why bytes can't be read.
#[derive(Clone, Copy)]
enum Missing {
    End,
    Discarded,
}

/// Parses a frame.
pub fn parse(frame: &[u8]) -> Parsed {
    let bytes = Bytes { frame, packet: frame.len(), is_fragment: false };
    read_frame(bytes).unwrap_or_else(|reading| reading)
}

fn read_frame(bytes: Bytes) -> Result<Parsed, Parsed> {
    let word = |at| bytes.at::<2>(at).map(u16::from_be_bytes).map_err(|_| Parsed::Discarded);
    let mut at = 12;
    let mut tags = 0;
    let mut protocol = word(at)?;
    while matches!(protocol, 0x8100 | 0x88a8) {
        // The kernel discards a frame whose tag is cut short.
        let (control, next) = (word(at + 2)?, word(at + 4)?);
        if tags == TAGS {
            return Err(Parsed::Unreadable { source: None });
        }
        if control & 0xfff != 0 {
            return Err(Parsed::NotOurs);
        }
        tags += 1;
        at += 4;
        protocol = next;
    }
    match protocol {
        0x0800 => read_ipv4(bytes, at + 2, tags != 0),
        0x86dd => read_ipv6(bytes, at + 2, tags != 0),
        _ => Ok(Parsed::NotOurs),
    }
}

fn v4(bytes: [u8; 4]) -> IpAddr {
    bytes.into()
}

fn v6(bytes: [u8; 16]) -> IpAddr {
    bytes.into()
}

fn read_ipv4(mut bytes: Bytes, start: usize, is_tagged: bool) -> Result<Parsed, Parsed> {
    let header: [u8; 20] = bytes.at(start).map_err(|_| Parsed::Discarded)?;
    let header_length = usize::from(header[0] & 0xf) * 4;
    if header_length < 20 {
        return Ok(Parsed::NotOurs);
    }
    let place = u16::from_be_bytes([header[6], header[7]]);
    let more = place & 0x2000 != 0;
    if place & 0x1fff != 0 {
        return Ok(Parsed::NotOurs);
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if length < header_length || start + length > bytes.frame.len() || header[0] >> 4 != 4 {
        return Err(Parsed::Discarded);
    }
    bytes.packet = start + length;
    bytes.is_fragment = more;
    let source = v4(bytes.at(start + 12).map_err(|_| Parsed::Discarded)?);
    let destination = v4(bytes.at(start + 16).map_err(|_| Parsed::Discarded)?);
    let next = start + header_length;
    match header[9] {
        6 => segment(bytes, next, source, destination).map(|segment| {
            let is_plain = !is_tagged && header_length == 20 && !more;
            Parsed::Segment(Segment { is_plain, ..segment })
        }),
        1 => Ok(read_icmpv4(bytes, next).unwrap_or_else(|reading| reading)),
        _ => Ok(Parsed::NotOurs),
    }
}

/// Where an IPv6 packet's extension headers lead.
struct Chain {
    protocol: u8,
    next: usize,
    is_first_fragment: bool,
    is_source_routed: bool,
}

fn read_ipv6(mut bytes: Bytes, start: usize, is_tagged: bool) -> Result<Parsed, Parsed> {
    let header: [u8; 40] = bytes.at(start).map_err(|_| Parsed::Discarded)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let is_jumbo = length == 0 && header[6] == 0;
    if start + 40 + length > bytes.frame.len() || header[0] >> 4 != 6 {
        return Err(Parsed::Discarded);
    }
    // Linux discards packets from mapped addresses, which it would mistake for IPv4.
    let source = std::net::Ipv6Addr::from(<[u8; 16]>::try_from(&header[8..24]).expect("sixteen"));
    if source.to_ipv4_mapped().is_some() {
        return Err(Parsed::Discarded);
    }
    bytes.packet = if is_jumbo { bytes.frame.len() } else { start + 40 + length };
    let source = v6(header[8..24].try_into().expect("sixteen of forty bytes"));
    let destination = v6(header[24..].try_into().expect("sixteen of forty bytes"));
    let chain = follow(&mut bytes, start + 40, header[6], source)?;
    match chain.protocol {
        6 => segment(bytes, chain.next, source, destination).map(|segment| {
            let is_plain = !is_tagged && header[6] == 6;
            let Chain { is_first_fragment, is_source_routed, .. } = chain;
            Parsed::Segment(Segment { is_first_fragment, is_source_routed, is_plain, ..segment })
        }),
        58 => Ok(read_icmpv6(bytes, chain.next).unwrap_or_else(|reading| reading)),
        _ if chain.next > bytes.packet => Err(Parsed::Discarded),
        _ => Ok(Parsed::NotOurs),
    }
}

/// Follows the extension headers from `next` on. If one fragment header says that more fragments
/// follow, the packet is a fragment, whatever another one says.
fn follow(bytes: &mut Bytes, next: usize, protocol: u8, source: IpAddr) -> Result<Chain, Parsed> {
    let mut chain = Chain { protocol, next, is_first_fragment: false, is_source_routed: false };
    for followed in 0.. {
        if !matches!(chain.protocol, 0 | 43 | 44 | 51 | 60) {
            break;
        }
        if followed == EXTENSIONS {
            return Err(Parsed::Unreadable { source: Some(source) });
        }
        let missing = |missing| unreadable(missing, source);
        let [next, length] = bytes.at(chain.next).map_err(missing)?;
        match chain.protocol {
            44 => {
                let place = u16::from_be_bytes(bytes.at(chain.next + 2).map_err(missing)?);
                if place & 0xfff8 != 0 {
                    return Err(Parsed::NotOurs);
                }
                chain.is_first_fragment |= place & 1 != 0;
                bytes.is_fragment = chain.is_first_fragment;
                chain.next += 8;
            }
            51 => chain.next += (usize::from(length) + 2) * 4,
            43 => {
                let [_, left]: [u8; 2] = bytes.at(chain.next + 2).map_err(missing)?;
                chain.is_source_routed |= left != 0;
                chain.next += (usize::from(length) + 1) * 8;
            }
            _ => chain.next += (usize::from(length) + 1) * 8,
        }
        chain.protocol = next;
    }
    Ok(chain)
}

fn unreadable(missing: Missing, source: IpAddr) -> Parsed {
    match missing {
        Missing::Discarded => Parsed::Discarded,
        Missing::End => Parsed::Unreadable { source: Some(source) },
    }
}

/// The TCP header at `at`, which may be cut short in a first fragment.
fn segment(
    bytes: Bytes,
    at: usize,
    source: IpAddr,
    destination: IpAddr,
) -> Result<Segment, Parsed> {
    let missing = |missing| unreadable(missing, source);
    if !bytes.is_fragment {
        let _: [u8; 20] = bytes.at(at).map_err(missing)?;
    }
    let [a, b, c, d] = bytes.at(at).map_err(missing)?;
    let flags = bytes.at::<1>(at + 13).ok().map(|[flags]| flags);
    let (source_port, destination_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Ok(Segment {
        tuple: FourTuple { source, source_port, destination, destination_port },
        flags,
        acknowledgment: bytes.at(at + 8).map_or(0, u32::from_be_bytes),
        is_first_fragment: bytes.is_fragment,
        is_source_routed: false,
        is_plain: false,
    })
}

/// An error that is cut short is not ours, and is never dropped.
fn read_icmpv4(mut bytes: Bytes, at: usize) -> Result<Parsed, Parsed> {
    let other = |missing| {
        if matches!(missing, Missing::Discarded) { Parsed::Discarded } else { Parsed::NotOurs }
    };
    bytes.is_fragment = false;
    let [kind] = bytes.at(at).map_err(other)?;
    if !matches!(kind, 3 | 11 | 12) {
        return Err(Parsed::NotOurs);
    }
    let quoted = at + 8;
    let header: [u8; 20] = bytes.at(quoted).map_err(other)?;
    if u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0 || header[9] != 6 {
        return Err(Parsed::NotOurs);
    }
    let header_length = usize::from(header[0] & 0xf) * 4;
    if header_length < 20 {
        return Err(Parsed::Discarded);
    }
    let [a, b, c, d] = bytes.at(quoted + header_length).map_err(other)?;
    let tuple = FourTuple {
        source: v4(bytes.at(quoted + 12).map_err(other)?),
        source_port: u16::from_be_bytes([a, b]),
        destination: v4(bytes.at(quoted + 16).map_err(other)?),
        destination_port: u16::from_be_bytes([c, d]),
    };
    Ok(Parsed::IcmpError(tuple.reversed()))
}

fn read_icmpv6(mut bytes: Bytes, at: usize) -> Result<Parsed, Parsed> {
    let other = |missing| {
        if matches!(missing, Missing::Discarded) { Parsed::Discarded } else { Parsed::NotOurs }
    };
    bytes.is_fragment = false;
    let [kind] = bytes.at(at).map_err(other)?;
    if !matches!(kind, 1..=4) {
        return Err(Parsed::NotOurs);
    }
    let quoted = at + 8;
    let header: [u8; 40] = bytes.at(quoted).map_err(other)?;
    let source = v6(header[8..24].try_into().expect("sixteen of forty bytes"));
    let destination = v6(header[24..].try_into().expect("sixteen of forty bytes"));
    // A quoted packet is cut short, but that does not make it a fragment.
    let mut quote = Bytes { is_fragment: bytes.is_fragment, ..bytes };
    let chain =
        follow(&mut quote, quoted + 40, header[6], source).map_err(|reading| match reading {
            Parsed::Discarded => Parsed::Discarded,
            _ => Parsed::NotOurs,
        })?;
    if chain.protocol != 6 {
        return Err(Parsed::NotOurs);
    }
    let [a, b, c, d] = bytes.at(chain.next).map_err(other)?;
    let (source_port, destination_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Ok(Parsed::IcmpError(
        FourTuple { source, source_port, destination, destination_port }.reversed(),
    ))
}
