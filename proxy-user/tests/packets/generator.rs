//! Generates random frames. Most are ordinary SYNs with a few unusual features, chosen close to
//! where a verdict changes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::facts::{FourTuple, NodeFacts};
use crate::packet::{
    Arrival, Extension, Fragment, Ingress, Interface, Ipv4, Ipv6, Length, Mark, Network, Packet,
    Payload, Recipient, Tag, Tcp,
};
use crate::render;
use crate::rng::Rng;

/// The longest frame of an ordinary network, with some room for tags.
const LONGEST: usize = 1400;

/// The addresses and ports that frames use: those of the node under test, and their neighbours.
pub struct Pools {
    sources: [Vec<IpAddr>; 2],
    destinations: [Vec<IpAddr>; 2],
    ports: Vec<u16>,
    /// Four-tuples of connections that have a socket.
    tuples: Vec<FourTuple>,
    cookies: Vec<(FourTuple, u32)>,
}

impl Pools {
    pub fn of(facts: &NodeFacts, sources: &[IpAddr], destinations: &[IpAddr]) -> Self {
        let split = |all: &[IpAddr]| {
            let (v4, v6) = all.iter().partition::<Vec<IpAddr>, _>(|address| address.is_ipv4());
            [v4, v6]
        };
        let ruled = facts.setup.rules.iter().map(|rule| rule.port);
        let beside = facts.setup.rules.iter().map(|rule| rule.port + 1);
        let mut ports: Vec<_> = ruled.clone().chain(ruled).chain(beside).collect();
        ports.extend([0, 53, u16::MAX]);
        let mut tuples: Vec<_> = facts.flows.iter().chain(&facts.waiting).copied().collect();
        let mut cookies: Vec<_> = facts.cookies.iter().copied().collect();
        // A set has no order, but frames have to be reproducible.
        tuples.sort_unstable_by_key(|it| format!("{it:?}"));
        cookies.sort_unstable_by_key(|it| format!("{it:?}"));
        Self { sources: split(sources), destinations: split(destinations), ports, tuples, cookies }
    }
}

/// Makes a frame.
pub fn packet(rng: &mut Rng, pools: &Pools) -> Packet {
    let mut packet = Packet {
        arrival: arrival(rng),
        to: recipient(rng),
        tags: tags(rng),
        network: if rng.one_in(50) { other_network(rng) } else { network(rng, pools) },
        padding: Vec::new(),
        cut: None,
    };
    if render::frame(&packet, [0; 6]).len() > LONGEST {
        packet.network.shorten();
    }
    if rng.one_in(12) {
        packet.padding = padding(rng);
    }
    if rng.one_in(20) {
        let length = render::frame(&packet, [0; 6]).len();
        packet.cut = Some(rng.up_to(length));
    }
    packet
}

fn arrival(rng: &mut Rng) -> Arrival {
    let mut arrival = Arrival::PLAIN;
    if rng.one_in(12) {
        arrival.interface = Interface::Loopback;
    }
    if rng.one_in(12) {
        arrival.mark = rng.pick(&[Mark::Own, Mark::Other]);
    }
    if rng.one_in(4) {
        let ways = [Ingress::Elsewhere, Ingress::Veth, Ingress::BelowVeths, Ingress::AboveVeths];
        arrival.ingress = rng.pick(&ways);
    }
    arrival
}

fn recipient(rng: &mut Rng) -> Recipient {
    if !rng.one_in(16) {
        return Recipient::Ours;
    }
    rng.pick(&[Recipient::Stranger, Recipient::Broadcast, Recipient::Multicast])
}

/// Mostly none; else mostly few, and with the id 0.
fn tags(rng: &mut Rng) -> Vec<Tag> {
    if !rng.one_in(4) {
        return Vec::new();
    }
    let count = rng.pick(&[1, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6]);
    let tag = |rng: &mut Rng| Tag {
        protocol: rng.pick(&[0x8100, 0x8100, 0x88a8]),
        control: match rng.up_to(11) {
            0 => rng.word(),
            1 => rng.pick(&[1, 5, 0x0fff, 0xe001]),
            2 => rng.pick(&[0x1000, 0x2000, 0xe000, 0xf000]),
            _ => 0,
        },
    };
    (0..count).map(|_| tag(rng)).collect()
}

fn other_network(rng: &mut Rng) -> Network {
    let protocol = match rng.up_to(4) {
        0 => rng.word(),
        _ => rng.pick(&[0x0806, 0x8847, 0x8863, 0x9100, 0x05dc, 0x0027]),
    };
    let length = rng.up_to(60);
    Network::Other(protocol, rng.bytes(length))
}

/// Bytes after the IP packet that could be taken for more of its headers.
fn padding(rng: &mut Rng) -> Vec<u8> {
    let length = 1 + rng.up_to(40);
    let mut bytes = rng.bytes(length);
    if rng.one_in(2) {
        bytes[0] = rng.pick(&[6, 17, 59, 60]);
        bytes.iter_mut().skip(1).for_each(|byte| *byte = 0);
    }
    bytes
}

fn network(rng: &mut Rng, pools: &Pools) -> Network {
    let ends = four_tuple(rng, pools);
    let payload = payload(rng, pools, ends);
    ip(rng, ends.0, payload, true)
}

/// A four-tuple and what to acknowledge: those of a connection that has a socket, or any.
fn four_tuple(rng: &mut Rng, pools: &Pools) -> (FourTuple, u32) {
    if !pools.cookies.is_empty() && rng.one_in(16) {
        return rng.pick(&pools.cookies);
    }
    if !pools.tuples.is_empty() && rng.one_in(4) {
        let tuple = rng.pick(&pools.tuples);
        return (if rng.one_in(8) { tuple.reversed() } else { tuple }, 0);
    }
    let family = rng.up_to(1);
    let tuple = FourTuple {
        source: address(rng, &pools.sources[family]),
        source_port: 40_000 + rng.up_to(3) as u16,
        destination: address(rng, &pools.destinations[family]),
        destination_port: rng.pick(&pools.ports),
    };
    // That of an answer, for the programs that look at answers.
    (if rng.one_in(4) { tuple.reversed() } else { tuple }, 0)
}

/// An address of the pool, or any of its family.
fn address(rng: &mut Rng, pool: &[IpAddr]) -> IpAddr {
    let address = rng.pick(pool);
    match address {
        _ if !rng.one_in(16) => address,
        IpAddr::V4(_) => Ipv4Addr::from_bits(rng.long() as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(u128::from(rng.long()) << 64 | 7).into(),
    }
}

fn payload(rng: &mut Rng, pools: &Pools, (ends, cookie): (FourTuple, u32)) -> Payload {
    match rng.up_to(19) {
        0 => Payload::Udp { source: ends.source_port, destination: ends.destination_port },
        1 => {
            let numbers = [0, 1, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 135, 253];
            let length = rng.up_to(40);
            Payload::Other { protocol: rng.pick(&numbers), bytes: rng.bytes(length) }
        }
        2 | 3 => {
            let (quoted, _) = four_tuple(rng, pools);
            let same_family = quoted.source.is_ipv4() == ends.source.is_ipv4();
            let quoted = if same_family { quoted } else { ends }.reversed();
            let payload = Payload::Tcp(tcp(rng, quoted, 0));
            let quoted = Box::new(ip(rng, quoted, payload, false));
            let kinds = [0, 1, 2, 3, 3, 4, 5, 8, 11, 12, 128, 135];
            Payload::IcmpError { kind: rng.pick(&kinds), quoted }
        }
        _ => Payload::Tcp(tcp(rng, ends, cookie)),
    }
}

fn tcp(rng: &mut Rng, ends: FourTuple, cookie: u32) -> Tcp {
    const SYN_ACK: u8 = Tcp::SYN | Tcp::ACK;
    /// SYN with the two flags of explicit congestion notification, and with others that don't
    /// matter.
    const SYN_ECN: u8 = Tcp::SYN | 0xc0;
    const SYN_ODD: u8 = Tcp::SYN | Tcp::PSH | 0x20;
    let common = [Tcp::SYN, Tcp::SYN, Tcp::SYN, Tcp::ACK, SYN_ACK, SYN_ACK, SYN_ECN, SYN_ODD];
    let flags = if rng.one_in(5) { rng.word() as u8 } else { rng.pick(&common) };
    let flags = if cookie != 0 && rng.one_in(2) { Tcp::ACK } else { flags };
    let mut tcp = Tcp::new(ends.source_port, ends.destination_port, flags);
    if cookie != 0 && !rng.one_in(8) {
        tcp.acknowledgment = cookie;
    } else if rng.one_in(4) {
        tcp.acknowledgment = rng.long() as u32;
    }
    if rng.one_in(8) {
        tcp.header_words = rng.up_to(15) as u8;
    }
    if rng.one_in(5) {
        tcp.bytes = match rng.up_to(2) {
            0 => rng.pick(&[0, 3, 4, 7, 8, 12, 13, 14, 16, 19, 20, 24, 32]),
            _ => rng.up_to(60),
        };
    }
    tcp
}

/// A packet with this four-tuple. One that an error quotes has fewer unusual features.
fn ip(rng: &mut Rng, ends: FourTuple, payload: Payload, is_outer: bool) -> Network {
    let length = if is_outer && rng.one_in(24) { wrong_length(rng) } else { Length::Right };
    match (ends.source, ends.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Network::Ipv4(Ipv4 {
            version: version(rng, 4),
            options: options(rng),
            header_words: rng.one_in(40).then(|| rng.up_to(15) as u8),
            fragment: rng.one_in(6).then(|| fragment(rng)),
            length,
            source,
            destination,
            payload,
        }),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Network::Ipv6(Ipv6 {
            version: version(rng, 6),
            extensions: extensions(rng),
            length,
            source,
            destination,
            payload,
        }),
        _ => unreachable!("a packet's addresses are of one family"),
    }
}

fn version(rng: &mut Rng, right: u8) -> u8 {
    if rng.one_in(60) { rng.up_to(15) as u8 } else { right }
}

fn wrong_length(rng: &mut Rng) -> Length {
    match rng.up_to(3) {
        0 => Length::Is(rng.up_to(100) as u16),
        1 => Length::Off(rng.pick(&[1, 2, 8, 40])),
        _ => Length::Off(-rng.pick(&[1, 2, 7, 8, 12, 19, 20, 39])),
    }
}

/// IPv4 options: at most ten words.
fn options(rng: &mut Rng) -> Vec<[u8; 4]> {
    if !rng.one_in(5) {
        return Vec::new();
    }
    // No operation, record route, stream id, or random bytes.
    let words =
        [[1, 1, 1, 1], [7, 4, 4, 0], [148, 4, 0, 0], rng.bytes(4).try_into().unwrap_or([1; 4])];
    (0..=rng.up_to(9)).map(|_| rng.pick(&words)).collect()
}

fn fragment(rng: &mut Rng) -> Fragment {
    let offset = if rng.one_in(3) { rng.pick(&[1, 2, 3, 0x1fff]) } else { 0 };
    Fragment { offset, more: !rng.one_in(3) }
}

/// Extension headers in any order, and mostly about as many as the programs can follow.
fn extensions(rng: &mut Rng) -> Vec<Extension> {
    let count = match rng.up_to(15) {
        0..8 => 0,
        8..12 => 1 + rng.up_to(2),
        12 | 13 => 3 + rng.up_to(5),
        _ => 14 + rng.up_to(6),
    };
    let are_small = rng.one_in(2);
    (0..count).map(|_| extension(rng, are_small)).collect()
}

fn extension(rng: &mut Rng, is_small: bool) -> Extension {
    let units = match rng.up_to(15) {
        _ if is_small => 0,
        0 => rng.up_to(255) as u8,
        1..4 => rng.up_to(6) as u8,
        _ => 0,
    };
    match rng.up_to(11) {
        0..2 => Extension::HopByHop { units },
        2..6 => Extension::Destination { units },
        6 | 7 => {
            let segments_left = if rng.one_in(2) { 0 } else { rng.up_to(255) as u8 };
            Extension::Routing { kind: rng.pick(&[0, 2, 3, 4]), segments_left, units }
        }
        8 | 9 => Extension::Fragment(fragment(rng)),
        10 => Extension::Authentication { units },
        _ => Extension::Other { protocol: rng.pick(&[50, 59, 135, 139, 140, 253]), units },
    }
}
