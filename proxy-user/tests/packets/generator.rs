//! Frames by chance: most are nearly ordinary first packets, each with few odd things about it, and
//! what is odd lies close to where a verdict changes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dice::Dice;
use crate::packet::{
    Arrival, CameBy, Extension, Fragment, Interface, Ipv4, Ipv6, Length, Mark, Network, Packet,
    Payload, Recipient, Tag, Tcp,
};
use crate::render;
use crate::world::{Tuple, World};

/// The longest frame of an ordinary network, some octets for tags aside.
const LONGEST: usize = 1400;

/// What addresses and ports are taken from: those of the world under test, and their neighbours.
pub struct Pools {
    sources: [Vec<IpAddr>; 2],
    destinations: [Vec<IpAddr>; 2],
    ports: Vec<u16>,
    /// Ends of connections that some socket has an opinion about.
    tuples: Vec<Tuple>,
    cookies: Vec<(Tuple, u32)>,
}

impl Pools {
    pub fn of(world: &World, sources: &[IpAddr], destinations: &[IpAddr]) -> Self {
        let split = |all: &[IpAddr]| {
            let (v4, v6) = all.iter().partition::<Vec<IpAddr>, _>(|address| address.is_ipv4());
            [v4, v6]
        };
        let ruled = world.setup.rules.iter().map(|rule| rule.port);
        let beside = world.setup.rules.iter().map(|rule| rule.port + 1);
        let mut ports: Vec<_> = ruled.clone().chain(ruled).chain(beside).collect();
        ports.extend([0, 53, u16::MAX]);
        let mut tuples: Vec<_> = world.flows.iter().chain(&world.waiting).copied().collect();
        let mut cookies: Vec<_> = world.cookies.iter().copied().collect();
        // A set has no order, and chance is to be repeatable.
        tuples.sort_unstable_by_key(|it| format!("{it:?}"));
        cookies.sort_unstable_by_key(|it| format!("{it:?}"));
        Self { sources: split(sources), destinations: split(destinations), ports, tuples, cookies }
    }
}

/// Makes a frame.
pub fn packet(dice: &mut Dice, pools: &Pools) -> Packet {
    let mut packet = Packet {
        arrival: arrival(dice),
        to: recipient(dice),
        tags: tags(dice),
        network: if dice.one_in(50) { other_network(dice) } else { network(dice, pools) },
        padding: Vec::new(),
        cut: None,
    };
    if render::frame(&packet, [0; 6]).len() > LONGEST {
        packet.network.shorten();
    }
    if dice.one_in(12) {
        packet.padding = padding(dice);
    }
    if dice.one_in(20) {
        let length = render::frame(&packet, [0; 6]).len();
        packet.cut = Some(dice.up_to(length));
    }
    packet
}

fn arrival(dice: &mut Dice) -> Arrival {
    let mut arrival = Arrival::PLAIN;
    if dice.one_in(12) {
        arrival.interface = Interface::Loopback;
    }
    if dice.one_in(12) {
        arrival.mark = dice.pick(&[Mark::Own, Mark::Other]);
    }
    if dice.one_in(4) {
        let ways = [CameBy::Elsewhere, CameBy::Veth, CameBy::BelowVeths, CameBy::AboveVeths];
        arrival.came_by = dice.pick(&ways);
    }
    arrival
}

fn recipient(dice: &mut Dice) -> Recipient {
    if !dice.one_in(16) {
        return Recipient::Ours;
    }
    dice.pick(&[Recipient::Stranger, Recipient::Broadcast, Recipient::Multicast])
}

/// Mostly none; then mostly few, and of the id 0.
fn tags(dice: &mut Dice) -> Vec<Tag> {
    if !dice.one_in(4) {
        return Vec::new();
    }
    let count = dice.pick(&[1, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6]);
    let tag = |dice: &mut Dice| Tag {
        protocol: dice.pick(&[0x8100, 0x8100, 0x88a8]),
        control: match dice.up_to(11) {
            0 => dice.word(),
            1 => dice.pick(&[1, 5, 0x0fff, 0xe001]),
            2 => dice.pick(&[0x1000, 0x2000, 0xe000, 0xf000]),
            _ => 0,
        },
    };
    (0..count).map(|_| tag(dice)).collect()
}

fn other_network(dice: &mut Dice) -> Network {
    let protocol = match dice.up_to(4) {
        0 => dice.word(),
        _ => dice.pick(&[0x0806, 0x8847, 0x8863, 0x9100, 0x05dc, 0x0027]),
    };
    let length = dice.up_to(60);
    Network::Other(protocol, dice.octets(length))
}

/// What an IP packet's neighbours in a frame could be taken for: more of its headers.
fn padding(dice: &mut Dice) -> Vec<u8> {
    let length = 1 + dice.up_to(40);
    let mut octets = dice.octets(length);
    if dice.one_in(2) {
        octets[0] = dice.pick(&[6, 17, 59, 60]);
        octets.iter_mut().skip(1).for_each(|octet| *octet = 0);
    }
    octets
}

fn network(dice: &mut Dice, pools: &Pools) -> Network {
    let ends = ends(dice, pools);
    let payload = payload(dice, pools, ends);
    ip(dice, ends.0, payload, true)
}

/// Four ends, and what to acknowledge: of a connection that some socket knows, or of any.
fn ends(dice: &mut Dice, pools: &Pools) -> (Tuple, u32) {
    if !pools.cookies.is_empty() && dice.one_in(16) {
        return dice.pick(&pools.cookies);
    }
    if !pools.tuples.is_empty() && dice.one_in(4) {
        let tuple = dice.pick(&pools.tuples);
        return (if dice.one_in(8) { tuple.reversed() } else { tuple }, 0);
    }
    let family = dice.up_to(1);
    let tuple = Tuple {
        source: address(dice, &pools.sources[family]),
        source_port: 40_000 + dice.up_to(3) as u16,
        destination: address(dice, &pools.destinations[family]),
        destination_port: dice.pick(&pools.ports),
    };
    // An answer's ends, for those that judge answers.
    (if dice.one_in(4) { tuple.reversed() } else { tuple }, 0)
}

/// One of the pool, or any of its family.
fn address(dice: &mut Dice, pool: &[IpAddr]) -> IpAddr {
    let address = dice.pick(pool);
    match address {
        _ if !dice.one_in(16) => address,
        IpAddr::V4(_) => Ipv4Addr::from_bits(dice.long() as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(u128::from(dice.long()) << 64 | 7).into(),
    }
}

fn payload(dice: &mut Dice, pools: &Pools, (ends, cookie): (Tuple, u32)) -> Payload {
    match dice.up_to(19) {
        0 => Payload::Udp { source: ends.source_port, destination: ends.destination_port },
        1 => {
            let numbers = [0, 1, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 135, 253];
            let length = dice.up_to(40);
            Payload::Other { protocol: dice.pick(&numbers), octets: dice.octets(length) }
        }
        2 | 3 => {
            let (quoted, _) = self::ends(dice, pools);
            let same_family = quoted.source.is_ipv4() == ends.source.is_ipv4();
            let quoted = if same_family { quoted } else { ends }.reversed();
            let payload = Payload::Tcp(tcp(dice, quoted, 0));
            let quoted = Box::new(ip(dice, quoted, payload, false));
            let kinds = [0, 1, 2, 3, 3, 4, 5, 8, 11, 12, 128, 135];
            Payload::IcmpError { kind: dice.pick(&kinds), quoted }
        }
        _ => Payload::Tcp(tcp(dice, ends, cookie)),
    }
}

fn tcp(dice: &mut Dice, ends: Tuple, cookie: u32) -> Tcp {
    const SYN_ACK: u8 = Tcp::SYN | Tcp::ACK;
    /// SYN with the two flags of explicit congestion notification, and with all that don't matter.
    const SYN_ECN: u8 = Tcp::SYN | 0xc0;
    const SYN_ODD: u8 = Tcp::SYN | Tcp::PSH | 0x20;
    let common = [Tcp::SYN, Tcp::SYN, Tcp::SYN, Tcp::ACK, SYN_ACK, SYN_ACK, SYN_ECN, SYN_ODD];
    let flags = if dice.one_in(5) { dice.word() as u8 } else { dice.pick(&common) };
    let flags = if cookie != 0 && dice.one_in(2) { Tcp::ACK } else { flags };
    let mut tcp = Tcp::new(ends.source_port, ends.destination_port, flags);
    if cookie != 0 && !dice.one_in(8) {
        tcp.acknowledges = cookie;
    } else if dice.one_in(4) {
        tcp.acknowledges = dice.long() as u32;
    }
    if dice.one_in(8) {
        tcp.header_words = dice.up_to(15) as u8;
    }
    if dice.one_in(5) {
        tcp.octets = match dice.up_to(2) {
            0 => dice.pick(&[0, 3, 4, 7, 8, 12, 13, 14, 16, 19, 20, 24, 32]),
            _ => dice.up_to(60),
        };
    }
    tcp
}

/// A packet between these ends. One that an error quotes is less odd.
fn ip(dice: &mut Dice, ends: Tuple, payload: Payload, is_outer: bool) -> Network {
    let length = if is_outer && dice.one_in(24) { wrong_length(dice) } else { Length::Right };
    match (ends.source, ends.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Network::Ipv4(Ipv4 {
            version: version(dice, 4),
            options: options(dice),
            header_words: dice.one_in(40).then(|| dice.up_to(15) as u8),
            fragment: dice.one_in(6).then(|| fragment(dice)),
            length,
            source,
            destination,
            payload,
        }),
        (IpAddr::V6(source), IpAddr::V6(destination)) => Network::Ipv6(Ipv6 {
            version: version(dice, 6),
            extensions: extensions(dice),
            length,
            source,
            destination,
            payload,
        }),
        _ => unreachable!("a packet's addresses are of one family"),
    }
}

fn version(dice: &mut Dice, right: u8) -> u8 {
    if dice.one_in(60) { dice.up_to(15) as u8 } else { right }
}

fn wrong_length(dice: &mut Dice) -> Length {
    match dice.up_to(3) {
        0 => Length::Is(dice.up_to(100) as u16),
        1 => Length::Off(dice.pick(&[1, 2, 8, 40])),
        _ => Length::Off(-dice.pick(&[1, 2, 7, 8, 12, 19, 20, 39])),
    }
}

/// Those of IPv4: ten words at most.
fn options(dice: &mut Dice) -> Vec<[u8; 4]> {
    if !dice.one_in(5) {
        return Vec::new();
    }
    // No operation, a record of the route, or whatever.
    let words =
        [[1, 1, 1, 1], [7, 4, 4, 0], [148, 4, 0, 0], dice.octets(4).try_into().unwrap_or([1; 4])];
    (0..=dice.up_to(9)).map(|_| dice.pick(&words)).collect()
}

fn fragment(dice: &mut Dice) -> Fragment {
    let offset = if dice.one_in(3) { dice.pick(&[1, 2, 3, 0x1fff]) } else { 0 };
    Fragment { offset, more: !dice.one_in(3) }
}

/// Any number in any order, around the number that programs can follow.
fn extensions(dice: &mut Dice) -> Vec<Extension> {
    let count = match dice.up_to(15) {
        0..8 => 0,
        8..12 => 1 + dice.up_to(2),
        12 | 13 => 3 + dice.up_to(5),
        _ => 14 + dice.up_to(6),
    };
    let are_small = dice.one_in(2);
    (0..count).map(|_| extension(dice, are_small)).collect()
}

fn extension(dice: &mut Dice, is_small: bool) -> Extension {
    let units = match dice.up_to(15) {
        _ if is_small => 0,
        0 => dice.up_to(255) as u8,
        1..4 => dice.up_to(6) as u8,
        _ => 0,
    };
    match dice.up_to(11) {
        0..2 => Extension::HopByHop { units },
        2..6 => Extension::Destination { units },
        6 | 7 => {
            let segments_left = if dice.one_in(2) { 0 } else { dice.up_to(255) as u8 };
            Extension::Routing { kind: dice.pick(&[0, 2, 3, 4]), segments_left, units }
        }
        8 | 9 => Extension::Fragment(fragment(dice)),
        10 => Extension::Authentication { units },
        _ => Extension::Other { protocol: dice.pick(&[50, 59, 135, 139, 140, 253]), units },
    }
}
