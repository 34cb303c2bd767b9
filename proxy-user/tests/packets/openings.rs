//! First packets of a connection, each wrapped in some way that a host's stack unwraps, as they go
//! onto a wire.

use std::fmt;
use std::net::IpAddr;

use netlab::Family;

use crate::dice::Dice;
use crate::packet::{Extension, Fragment, Network, Packet, Tag, Tcp};
use crate::render;

/// Octets of IP headers without options or extension headers.
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// The fragment header's number.
const FRAGMENT: u8 = 44;

/// The frames of one SYN.
pub struct Opening {
    pub packet: Packet,
    /// Absent, if it is in one piece.
    pub split: Option<Split>,
    pub frames: Vec<Vec<u8>>,
}

/// How a packet is cut into fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Extension headers before the fragment header; those behind it are cut like all else.
    pub before: usize,
    /// Octets in each fragment but the last: a multiple of 8.
    pub every: usize,
    /// Whether the last one is sent first.
    pub is_reversed: bool,
    /// Octets of nothing behind each fragment, which its length does not count.
    pub padding: usize,
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.packet)?;
        if let Some(split) = self.split {
            write!(f, "; {split:?}")?;
        }
        for frame in &self.frames {
            write!(f, "\n  {}", crate::campaign::hex(frame))?;
        }
        Ok(())
    }
}

/// What kind of wrapping it is, to see that none is missing.
pub fn kind(opening: &Opening) -> &'static str {
    let chain = match &opening.packet.network {
        Network::Ipv6(ip) => ip.extensions.len(),
        _ => 0,
    };
    match (opening.packet.tags.is_empty(), opening.split.is_some(), chain) {
        (true, false, 0) => "plain",
        (true, false, 1..=5) => "few extension headers",
        (true, false, _) => "many extension headers",
        (true, true, _) => "in fragments",
        (false, false, _) => "tagged",
        (false, true, _) => "tagged, in fragments",
    }
}

/// A SYN from `source` to a port of `destination`.
pub fn opening(dice: &mut Dice, family: Family, ends: Ends, ours: [u8; 6]) -> Opening {
    let mut tcp = Tcp::new(ends.source_port, ends.port, dice.pick(&[0x02, 0x02, 0xc2, 0x0a, 0x22]));
    if dice.one_in(2) {
        tcp.header_words = 8;
        tcp.octets = 32;
    }
    let mut packet = Packet::segment(ends.source, ends.destination, tcp);
    packet.tags = tags(dice);
    match &mut packet.network {
        Network::Ipv4(ip) => ip.options = vec![[1; 4]; dice.pick(&[0, 0, 0, 1, 5, 10])],
        Network::Ipv6(ip) => ip.extensions = chain(dice),
        Network::Other(..) => {}
    }
    let split = dice.one_in(3).then(|| split(dice, &packet));
    let frames = frames(&packet, family, split, ours);
    Opening { packet, split, frames }
}

/// Who opens a connection to whom.
#[derive(Clone, Copy)]
pub struct Ends {
    pub source: IpAddr,
    pub source_port: u16,
    pub destination: IpAddr,
    pub port: u16,
}

/// A frame of the plainest SYN.
pub fn plain(ends: Ends, ours: [u8; 6]) -> Vec<u8> {
    let tcp = Tcp::new(ends.source_port, ends.port, Tcp::SYN);
    render::frame(&Packet::segment(ends.source, ends.destination, tcp), ours)
}

/// Up to twenty extension headers that a host accepts: hop-by-hop options stand first or nowhere.
fn chain(dice: &mut Dice) -> Vec<Extension> {
    let length = dice.pick(&[0, 0, 0, 1, 2, 5, 6, 7, 8, 15, 16, 17, 20]);
    let header = |number: usize, dice: &mut Dice| match dice.up_to(7) {
        0 if number == 0 => Extension::HopByHop { units: 0 },
        1 => Extension::Fragment(Fragment { offset: 0, more: false }),
        2 => Extension::Destination { units: 1 },
        _ => Extension::Destination { units: 0 },
    };
    (0..length).map(|number| header(number, dice)).collect()
}

/// Mostly of VLAN 0, which is none.
fn tags(dice: &mut Dice) -> Vec<Tag> {
    let count = dice.pick(&[0, 0, 0, 1, 1, 2, 3, 4, 5]);
    let tag = |dice: &mut Dice| Tag {
        protocol: dice.pick(&[0x8100, 0x8100, 0x88a8]),
        control: dice.pick(&[0, 0, 0, 0xe000, 0x2000, 0x1000]),
    };
    (0..count).map(|_| tag(dice)).collect()
}

fn split(dice: &mut Dice, packet: &Packet) -> Split {
    let chain = match &packet.network {
        Network::Ipv6(ip) => ip.extensions.len(),
        _ => 0,
    };
    Split {
        before: dice.up_to(chain),
        every: 8 * (1 + dice.up_to(3)),
        is_reversed: dice.one_in(3),
        padding: dice.pick(&[0, 0, 4, 24]),
    }
}

fn frames(packet: &Packet, family: Family, split: Option<Split>, ours: [u8; 6]) -> Vec<Vec<u8>> {
    let whole = render::frame(packet, ours);
    let Some(split) = split else { return vec![whole] };
    let (_, ip) = render::network(&packet.network);
    let link = &whole[..whole.len() - ip.len()];
    let fragments = match family {
        Family::V4 => ipv4_fragments(&ip, split),
        Family::V6 => ipv6_fragments(&ip, split),
    };
    // As if the chain went on, and ended in UDP.
    let mut padding = vec![0; split.padding];
    padding.iter_mut().take(1).for_each(|octet| *octet = 17);
    let mut frames: Vec<_> = fragments.iter().map(|it| [link, it, &padding].concat()).collect();
    if split.is_reversed {
        frames.reverse();
    }
    frames
}

fn ipv4_fragments(ip: &[u8], split: Split) -> Vec<Vec<u8>> {
    let (header, body) = ip.split_at(usize::from(ip[0] & 0xf) * 4);
    let count = body.chunks(split.every).len();
    let fragment = |(number, part): (usize, &[u8])| {
        let mut header = header.to_vec();
        let length = (header.len() + part.len()) as u16;
        let place = (number * split.every / 8) as u16 | u16::from(number + 1 < count) << 13;
        header[2..4].copy_from_slice(&length.to_be_bytes());
        header[6..8].copy_from_slice(&place.to_be_bytes());
        // Of the same packet as the other fragments, and of no other one.
        let identification: [u8; 2] = [body[0], body[1]];
        header[4..6].copy_from_slice(&identification);
        header[10..12].fill(0);
        let checksum = render::checksum([&header]);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        debug_assert!(header.len() >= IPV4_HEADER);
        [&header, part].concat()
    };
    body.chunks(split.every).enumerate().map(fragment).collect()
}

fn ipv6_fragments(ip: &[u8], split: Split) -> Vec<Vec<u8>> {
    // Where the protocol of what comes next stands, and where that begins.
    let (mut protocol_at, mut at) = (6, IPV6_HEADER);
    for _ in 0..split.before {
        let units = if ip[protocol_at] == FRAGMENT { 0 } else { usize::from(ip[at + 1]) };
        (protocol_at, at) = (at, at + 8 + 8 * units);
    }
    let (before, body) = ip.split_at(at);
    let count = body.chunks(split.every).len();
    // Of the same packet as the other fragments, and of no other one.
    let port = &ip[ip.len() - body.len().min(20)..][..2];
    let fragment = |(number, part): (usize, &[u8])| {
        let mut before = before.to_vec();
        let protocol = std::mem::replace(&mut before[protocol_at], FRAGMENT);
        let place = (number * split.every) as u16 | u16::from(number + 1 < count);
        let [high, low] = place.to_be_bytes();
        let length = (before.len() - IPV6_HEADER + 8 + part.len()) as u16;
        before[4..6].copy_from_slice(&length.to_be_bytes());
        [&before[..], &[protocol, 0, high, low, 0, 0, port[0], port[1]], part].concat()
    };
    body.chunks(split.every).enumerate().map(fragment).collect()
}
