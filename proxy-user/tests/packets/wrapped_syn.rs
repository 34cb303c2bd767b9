//! SYNs for the wire, each wrapped in some way that a host's stack unwraps: VLAN tags, options,
//! extension headers, fragments.

use std::fmt;

use netlab::Family;

use crate::facts::FourTuple;
use crate::packet::{Extension, Fragment, Network, Packet, Tag, Tcp};
use crate::render;
use crate::rng::Rng;

/// Bytes of IP headers without options or extension headers.
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// The fragment header's number.
const FRAGMENT: u8 = 44;

/// The frames of one SYN.
pub struct WrappedSyn {
    pub packet: Packet,
    /// How it is fragmented, if it is.
    pub split: Option<Split>,
    pub frames: Vec<Vec<u8>>,
}

/// How a packet is cut into fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Extension headers before the fragment header; those after it are part of what is cut.
    pub before: usize,
    /// Bytes in each fragment but the last: a multiple of 8.
    pub every: usize,
    /// Whether the last one is sent first.
    pub is_reversed: bool,
    /// Padding bytes after each fragment, which its length does not count.
    pub padding: usize,
}

impl fmt::Display for WrappedSyn {
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

/// The kind of wrapping, to check that none is missing.
pub fn kind(wrapped_syn: &WrappedSyn) -> &'static str {
    let chain = match &wrapped_syn.packet.network {
        Network::Ipv6(ip) => ip.extensions.len(),
        _ => 0,
    };
    match (wrapped_syn.packet.tags.is_empty(), wrapped_syn.split.is_some(), chain) {
        (true, false, 0) => "plain",
        (true, false, 1..=5) => "few extension headers",
        (true, false, _) => "many extension headers",
        (true, true, _) => "in fragments",
        (false, false, _) => "tagged",
        (false, true, _) => "tagged, in fragments",
    }
}

/// A SYN of this connection, randomly wrapped.
pub fn wrapped_syn(rng: &mut Rng, family: Family, tuple: FourTuple, ours: [u8; 6]) -> WrappedSyn {
    let mut tcp = Tcp::new(
        tuple.source_port,
        tuple.destination_port,
        rng.pick(&[0x02, 0x02, 0xc2, 0x0a, 0x22]),
    );
    if rng.one_in(2) {
        tcp.header_words = 8;
        tcp.bytes = 32;
    }
    let mut packet = Packet::segment(tuple.source, tuple.destination, tcp);
    packet.tags = tags(rng);
    match &mut packet.network {
        Network::Ipv4(ip) => ip.options = vec![[1; 4]; rng.pick(&[0, 0, 0, 1, 5, 10])],
        Network::Ipv6(ip) => ip.extensions = chain(rng),
        Network::Other(..) => {}
    }
    let split = rng.one_in(3).then(|| split(rng, &packet));
    let frames = frames(&packet, family, split, ours);
    WrappedSyn { packet, split, frames }
}

/// The frame of a SYN that isn't wrapped.
pub fn plain(tuple: FourTuple, ours: [u8; 6]) -> Vec<u8> {
    let tcp = Tcp::new(tuple.source_port, tuple.destination_port, Tcp::SYN);
    render::frame(&Packet::segment(tuple.source, tuple.destination, tcp), ours)
}

/// Up to twenty extension headers that a host accepts. Hop-by-hop options may only come first.
fn chain(rng: &mut Rng) -> Vec<Extension> {
    let length = rng.pick(&[0, 0, 0, 1, 2, 5, 6, 7, 8, 15, 16, 17, 20]);
    let header = |number: usize, rng: &mut Rng| match rng.up_to(7) {
        0 if number == 0 => Extension::HopByHop { units: 0 },
        1 => Extension::Fragment(Fragment { offset: 0, more: false }),
        2 => Extension::Destination { units: 1 },
        _ => Extension::Destination { units: 0 },
    };
    (0..length).map(|number| header(number, rng)).collect()
}

/// VLAN tags, all of VLAN 0.
fn tags(rng: &mut Rng) -> Vec<Tag> {
    let count = rng.pick(&[0, 0, 0, 1, 1, 2, 3, 4, 5]);
    let tag = |rng: &mut Rng| Tag {
        protocol: rng.pick(&[0x8100, 0x8100, 0x88a8]),
        control: rng.pick(&[0, 0, 0, 0xe000, 0x2000, 0x1000]),
    };
    (0..count).map(|_| tag(rng)).collect()
}

fn split(rng: &mut Rng, packet: &Packet) -> Split {
    let chain = match &packet.network {
        Network::Ipv6(ip) => ip.extensions.len(),
        _ => 0,
    };
    Split {
        before: rng.up_to(chain),
        every: 8 * (1 + rng.up_to(3)),
        is_reversed: rng.one_in(3),
        padding: rng.pick(&[0, 0, 4, 24]),
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
    // Looks as if the chain went on, and ended in UDP.
    let mut padding = vec![0; split.padding];
    padding.iter_mut().take(1).for_each(|byte| *byte = 17);
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
        // The identification is the same in all fragments, and different for each packet.
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
    // Offsets of the next protocol's number and of its header.
    let (mut protocol_at, mut at) = (6, IPV6_HEADER);
    for _ in 0..split.before {
        let units = if ip[protocol_at] == FRAGMENT { 0 } else { usize::from(ip[at + 1]) };
        (protocol_at, at) = (at, at + 8 + 8 * units);
    }
    let (before, body) = ip.split_at(at);
    let count = body.chunks(split.every).len();
    // The identification is the same in all fragments, and different for each packet.
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
