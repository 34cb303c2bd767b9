//! Reads a frame's octets as the specification says that the programs do: by itself, and in the
//! plainest way.

use std::net::IpAddr;

use crate::world::Tuple;

/// The most tags that are read.
const TAGS: usize = 4;
/// The most extension headers that are followed.
const EXTENSIONS: usize = 16;

/// What a frame is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// No business of ours: another network's, another protocol, a later fragment.
    Other,
    /// The kernel drops it, and no part of it can become part of another packet: whatever is said of
    /// it comes to the same.
    Void,
    /// It may be TCP. The source is absent where there is no telling.
    Unreadable {
        source: Option<IpAddr>,
    },
    Segment(Segment),
    /// An ICMP error; the ends are those of a segment from the far end to ours.
    Error(Tuple),
}

/// A TCP segment, or the first fragment of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub tuple: Tuple,
    /// Absent in a first fragment that ends before them.
    pub flags: Option<u8>,
    pub acknowledges: u32,
    pub is_first_fragment: bool,
    /// Whether a routing header has segments left.
    pub is_source_routed: bool,
    /// Whether it has no tag, no option and no extension header.
    pub is_plain: bool,
}

impl Segment {
    /// SYN alone of SYN, ACK, RST and FIN.
    pub fn opens(&self) -> bool {
        self.flags.is_some_and(|flags| flags & 0x17 == 0x02)
    }

    /// The same, or there is no telling.
    pub fn may_open(&self) -> bool {
        self.flags.is_none() || self.opens()
    }
}

/// Octets that end twice: where the frame does, and where the IP header says that its packet does.
/// The kernel cuts off what is behind the packet before it looks any further.
#[derive(Clone, Copy)]
struct Octets<'a> {
    frame: &'a [u8],
    packet: usize,
    is_fragment: bool,
}

impl Octets<'_> {
    /// Reads octets of the packet. Those of the frame behind it are nobody's: a fragment's missing
    /// octets come with the next one, and any other packet is dropped for the lack of them.
    fn at<const N: usize>(&self, at: usize) -> Result<[u8; N], Missing> {
        let slice = |end| self.frame.get(..end)?.get(at..at + N)?.try_into().ok();
        match (slice(self.packet.min(self.frame.len())), slice(self.frame.len())) {
            (Some(octets), _) => Ok(octets),
            (None, Some(_)) if !self.is_fragment => Err(Missing::Void),
            (None, _) => Err(Missing::End),
        }
    }
}

/// Why octets can't be read.
#[derive(Clone, Copy)]
enum Missing {
    End,
    Void,
}

/// Reads a frame.
pub fn read(frame: &[u8]) -> Reading {
    let octets = Octets { frame, packet: frame.len(), is_fragment: false };
    read_frame(octets).unwrap_or_else(|reading| reading)
}

fn read_frame(octets: Octets) -> Result<Reading, Reading> {
    let word = |at| octets.at::<2>(at).map(u16::from_be_bytes).map_err(|_| Reading::Void);
    let mut at = 12;
    let mut tags = 0;
    let mut protocol = word(at)?;
    while matches!(protocol, 0x8100 | 0x88a8) {
        // The kernel drops a frame whose tag is cut short.
        let (control, next) = (word(at + 2)?, word(at + 4)?);
        if tags == TAGS {
            return Err(Reading::Unreadable { source: None });
        }
        if control & 0xfff != 0 {
            return Err(Reading::Other);
        }
        tags += 1;
        at += 4;
        protocol = next;
    }
    match protocol {
        0x0800 => read_ipv4(octets, at + 2, tags != 0),
        0x86dd => read_ipv6(octets, at + 2, tags != 0),
        _ => Ok(Reading::Other),
    }
}

fn v4(octets: [u8; 4]) -> IpAddr {
    octets.into()
}

fn v6(octets: [u8; 16]) -> IpAddr {
    octets.into()
}

fn read_ipv4(mut octets: Octets, start: usize, is_tagged: bool) -> Result<Reading, Reading> {
    let header: [u8; 20] = octets.at(start).map_err(|_| Reading::Void)?;
    let header_length = usize::from(header[0] & 0xf) * 4;
    if header_length < 20 {
        return Ok(Reading::Other);
    }
    let place = u16::from_be_bytes([header[6], header[7]]);
    let more = place & 0x2000 != 0;
    if place & 0x1fff != 0 {
        return Ok(Reading::Other);
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if length < header_length || start + length > octets.frame.len() || header[0] >> 4 != 4 {
        return Err(Reading::Void);
    }
    octets.packet = start + length;
    octets.is_fragment = more;
    let source = v4(octets.at(start + 12).map_err(|_| Reading::Void)?);
    let destination = v4(octets.at(start + 16).map_err(|_| Reading::Void)?);
    let next = start + header_length;
    match header[9] {
        6 => segment(octets, next, source, destination).map(|segment| {
            let is_plain = !is_tagged && header_length == 20 && !more;
            Reading::Segment(Segment { is_plain, ..segment })
        }),
        1 => Ok(read_icmpv4(octets, next).unwrap_or_else(|reading| reading)),
        _ => Ok(Reading::Other),
    }
}

/// Where an IPv6 packet's extension headers lead.
struct Chain {
    protocol: u8,
    next: usize,
    is_first_fragment: bool,
    is_source_routed: bool,
}

fn read_ipv6(mut octets: Octets, start: usize, is_tagged: bool) -> Result<Reading, Reading> {
    let header: [u8; 40] = octets.at(start).map_err(|_| Reading::Void)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let is_jumbo = length == 0 && header[6] == 0;
    if start + 40 + length > octets.frame.len() || header[0] >> 4 != 6 {
        return Err(Reading::Void);
    }
    // Linux takes no packet of such a source, which it would take for one of IPv4.
    let source = std::net::Ipv6Addr::from(<[u8; 16]>::try_from(&header[8..24]).expect("sixteen"));
    if source.to_ipv4_mapped().is_some() {
        return Err(Reading::Void);
    }
    octets.packet = if is_jumbo { octets.frame.len() } else { start + 40 + length };
    let source = v6(header[8..24].try_into().expect("sixteen of forty octets"));
    let destination = v6(header[24..].try_into().expect("sixteen of forty octets"));
    let chain = follow(&mut octets, start + 40, header[6], source)?;
    match chain.protocol {
        6 => segment(octets, chain.next, source, destination).map(|segment| {
            let is_plain = !is_tagged && header[6] == 6;
            let Chain { is_first_fragment, is_source_routed, .. } = chain;
            Reading::Segment(Segment { is_first_fragment, is_source_routed, is_plain, ..segment })
        }),
        58 => Ok(read_icmpv6(octets, chain.next).unwrap_or_else(|reading| reading)),
        _ if chain.next > octets.packet => Err(Reading::Void),
        _ => Ok(Reading::Other),
    }
}

/// Follows the extension headers from `next` on. Once a fragment header has said that more is to come,
/// the packet is a fragment, whatever another one says.
fn follow(
    octets: &mut Octets,
    next: usize,
    protocol: u8,
    source: IpAddr,
) -> Result<Chain, Reading> {
    let mut chain = Chain { protocol, next, is_first_fragment: false, is_source_routed: false };
    for followed in 0.. {
        if !matches!(chain.protocol, 0 | 43 | 44 | 51 | 60) {
            break;
        }
        if followed == EXTENSIONS {
            return Err(Reading::Unreadable { source: Some(source) });
        }
        let missing = |missing| unreadable(missing, source);
        let [next, length] = octets.at(chain.next).map_err(missing)?;
        match chain.protocol {
            44 => {
                let place = u16::from_be_bytes(octets.at(chain.next + 2).map_err(missing)?);
                if place & 0xfff8 != 0 {
                    return Err(Reading::Other);
                }
                chain.is_first_fragment |= place & 1 != 0;
                octets.is_fragment = chain.is_first_fragment;
                chain.next += 8;
            }
            51 => chain.next += (usize::from(length) + 2) * 4,
            43 => {
                let [_, left]: [u8; 2] = octets.at(chain.next + 2).map_err(missing)?;
                chain.is_source_routed |= left != 0;
                chain.next += (usize::from(length) + 1) * 8;
            }
            _ => chain.next += (usize::from(length) + 1) * 8,
        }
        chain.protocol = next;
    }
    Ok(chain)
}

fn unreadable(missing: Missing, source: IpAddr) -> Reading {
    match missing {
        Missing::Void => Reading::Void,
        Missing::End => Reading::Unreadable { source: Some(source) },
    }
}

/// A TCP header at `at`: all of it, or of a first fragment what there is.
fn segment(
    octets: Octets,
    at: usize,
    source: IpAddr,
    destination: IpAddr,
) -> Result<Segment, Reading> {
    let missing = |missing| unreadable(missing, source);
    if !octets.is_fragment {
        let _: [u8; 20] = octets.at(at).map_err(missing)?;
    }
    let [a, b, c, d] = octets.at(at).map_err(missing)?;
    let flags = octets.at::<1>(at + 13).ok().map(|[flags]| flags);
    let (source_port, destination_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Ok(Segment {
        tuple: Tuple { source, source_port, destination, destination_port },
        flags,
        acknowledges: octets.at(at + 8).map_or(0, u32::from_be_bytes),
        is_first_fragment: octets.is_fragment,
        is_source_routed: false,
        is_plain: false,
    })
}

/// An error that is cut short is no business of ours, and is never dropped.
fn read_icmpv4(mut octets: Octets, at: usize) -> Result<Reading, Reading> {
    let other =
        |missing| if matches!(missing, Missing::Void) { Reading::Void } else { Reading::Other };
    octets.is_fragment = false;
    let [kind] = octets.at(at).map_err(other)?;
    if !matches!(kind, 3 | 11 | 12) {
        return Err(Reading::Other);
    }
    let quoted = at + 8;
    let header: [u8; 20] = octets.at(quoted).map_err(other)?;
    if u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0 || header[9] != 6 {
        return Err(Reading::Other);
    }
    let header_length = usize::from(header[0] & 0xf) * 4;
    if header_length < 20 {
        return Err(Reading::Void);
    }
    let [a, b, c, d] = octets.at(quoted + header_length).map_err(other)?;
    let tuple = Tuple {
        source: v4(octets.at(quoted + 12).map_err(other)?),
        source_port: u16::from_be_bytes([a, b]),
        destination: v4(octets.at(quoted + 16).map_err(other)?),
        destination_port: u16::from_be_bytes([c, d]),
    };
    Ok(Reading::Error(tuple.reversed()))
}

fn read_icmpv6(mut octets: Octets, at: usize) -> Result<Reading, Reading> {
    let other =
        |missing| if matches!(missing, Missing::Void) { Reading::Void } else { Reading::Other };
    octets.is_fragment = false;
    let [kind] = octets.at(at).map_err(other)?;
    if !matches!(kind, 1..=4) {
        return Err(Reading::Other);
    }
    let quoted = at + 8;
    let header: [u8; 40] = octets.at(quoted).map_err(other)?;
    let source = v6(header[8..24].try_into().expect("sixteen of forty octets"));
    let destination = v6(header[24..].try_into().expect("sixteen of forty octets"));
    // What is quoted is judged as what it was: that it is a part only makes it no fragment.
    let mut quote = Octets { is_fragment: octets.is_fragment, ..octets };
    let chain =
        follow(&mut quote, quoted + 40, header[6], source).map_err(|reading| match reading {
            Reading::Void => Reading::Void,
            _ => Reading::Other,
        })?;
    if chain.protocol != 6 {
        return Err(Reading::Other);
    }
    let [a, b, c, d] = octets.at(chain.next).map_err(other)?;
    let (source_port, destination_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Ok(Reading::Error(Tuple { source, source_port, destination, destination_port }.reversed()))
}
