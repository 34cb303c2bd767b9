//! What each program must make of a frame, in plain Rust, from the specification alone.

use std::fmt;
use std::net::IpAddr;

use crate::packet::{Arrival, CameBy, Interface, Mark};
use crate::reading::{Reading, Segment, read};
use crate::world::{Rule, Tuple, World};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Pass,
    Drop(Because),
    Redirect,
    /// It comes to the same: the kernel drops the frame.
    Any,
}

/// Why a frame is dropped, by the word in counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Because {
    UnreadablePacket,
    Fragment,
    UpstreamLoop,
    UntrustedSource,
    SynRate,
    LinkLocal,
    UnsteeredAnswer,
    /// Its port is held.
    Held,
}

impl Because {
    /// The word; a hold counts for itself.
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::UnreadablePacket => Some("unreadable-packet"),
            Self::Fragment => Some("fragment"),
            Self::UpstreamLoop => Some("upstream-loop"),
            Self::UntrustedSource => Some("untrusted-source"),
            Self::SynRate => Some("syn-rate"),
            Self::LinkLocal => Some("link-local"),
            Self::UnsteeredAnswer => Some("unsteered-answer"),
            Self::Held => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Redirect => f.write_str("redirect"),
            Self::Any => f.write_str("any"),
            Self::Drop(Because::Held) => f.write_str("drop held"),
            Self::Drop(because) => write!(f, "drop {}", because.word().unwrap_or("?")),
        }
    }
}

/// A program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    Steer,
    Guard,
    Hold,
    /// The wall at the way out.
    SynAck,
    /// The same of a hold.
    HoldTx,
}

impl Program {
    pub const ALL: [Self; 5] = [Self::Steer, Self::Guard, Self::Hold, Self::SynAck, Self::HoldTx];

    /// The name that it is loaded by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steer => "foreword_steer",
            Self::Guard => "foreword_guard",
            Self::Hold => "foreword_hold",
            Self::SynAck => "foreword_synack",
            Self::HoldTx => "foreword_holdtx",
        }
    }

    /// What it must make of a frame.
    pub fn expected(self, world: &World, arrival: Arrival, frame: &[u8]) -> Verdict {
        match self {
            Self::Steer => steer(world, arrival, frame),
            Self::Guard => guard(world, frame),
            Self::Hold => hold(world, arrival, frame),
            Self::SynAck => answer(arrival, frame, Because::UnsteeredAnswer, |tuple| {
                let rule = world.rule_of(tuple.source_port, tuple.source);
                rule.is_some_and(Rule::guards_answers)
            }),
            Self::HoldTx => {
                answer(arrival, frame, Because::Held, |it| world.is_held(it.source_port))
            }
        }
    }
}

/// Whom the private namespace says that a segment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Flow,
    NewConnection,
    SynCookie,
    Nobody,
}

fn owner(world: &World, segment: &Segment) -> Owner {
    let cookie = (segment.tuple, segment.acknowledges);
    if world.flows.contains(&segment.tuple) {
        Owner::Flow
    } else if segment.opens() {
        Owner::NewConnection
    } else if world.cookies.contains(&cookie) && is_acknowledgement(segment) {
        Owner::SynCookie
    } else {
        Owner::Nobody
    }
}

/// ACK, and neither SYN nor RST.
fn is_acknowledgement(segment: &Segment) -> bool {
    segment.flags.is_some_and(|flags| flags & 0x16 == 0x10)
}

/// Whether the frame is addressed to the interface that it comes in by.
fn is_to_us(world: &World, arrival: Arrival, frame: &[u8]) -> bool {
    let ours = match arrival.interface {
        Interface::Protected => world.link_address,
        Interface::Loopback => [0; 6],
    };
    frame.starts_with(&ours)
}

/// Whether it carries the mark of Foreword's own packets.
fn is_own(world: &World, arrival: Arrival) -> bool {
    arrival.mark == Mark::Own && world.own_mark != 0
}

fn steer(world: &World, arrival: Arrival, frame: &[u8]) -> Verdict {
    if !is_to_us(world, arrival, frame) || is_own(world, arrival) {
        return Verdict::Pass;
    }
    match read(frame) {
        Reading::Void => Verdict::Any,
        Reading::Unreadable { source } if !is_loopback(source) && world.restricts() => {
            Verdict::Drop(Because::UnreadablePacket)
        }
        Reading::Error(tuple)
            if world.flows.contains(&tuple) && !is_loopback(Some(tuple.source)) =>
        {
            Verdict::Redirect
        }
        Reading::Other | Reading::Unreadable { .. } | Reading::Error(_) => Verdict::Pass,
        Reading::Segment(segment) => steer_segment(world, arrival, &segment),
    }
}

fn steer_segment(world: &World, arrival: Arrival, segment: &Segment) -> Verdict {
    let Tuple { source, destination, destination_port, .. } = segment.tuple;
    if is_loopback(Some(source)) || !world.has_port(destination_port) {
        return Verdict::Pass;
    }
    // A port that has rules for other destinations only is as good as one whose rule has retired.
    let rule = world.rule_of(destination_port, destination).filter(|rule| !rule.is_retired);
    let restricts = rule.is_some_and(Rule::restricts);
    if is_link_local(source) || is_link_local(destination) {
        let may_open = segment.is_first_fragment || segment.opens();
        let is_dropped = restricts && may_open;
        return if is_dropped { Verdict::Drop(Because::LinkLocal) } else { Verdict::Pass };
    }
    let owner = owner(world, segment);
    if segment.is_first_fragment {
        let may_be_ours = rule.is_some() && (restricts || segment.may_open());
        return if may_be_ours || owner == Owner::Flow {
            Verdict::Drop(Because::Fragment)
        } else {
            Verdict::Pass
        };
    }
    if segment.is_source_routed && restricts && segment.opens() {
        return Verdict::Drop(Because::UnreadablePacket);
    }
    let is_on_lo = arrival.interface == Interface::Loopback;
    if segment.opens()
        && owner != Owner::Nobody
        && !is_on_lo
        && world.waiting.contains(&segment.tuple)
    {
        return Verdict::Drop(Because::UpstreamLoop);
    }
    match (owner, rule) {
        (Owner::Flow | Owner::SynCookie, _) => Verdict::Redirect,
        (Owner::Nobody, _) | (Owner::NewConnection, None) => Verdict::Pass,
        (Owner::NewConnection, Some(rule)) => {
            let judged_before = world.setup.has_xdp() && segment.is_plain;
            let refused = if judged_before { None } else { turn_away(world, rule, source) };
            // The routing table has no answer that leaves in such a name, and the kernel serves none.
            let asks_routes = world.setup.reply == "arrival" && !is_on_lo;
            if refused.is_none() && asks_routes && !is_unicast(destination) {
                return Verdict::Any;
            }
            refused.map_or(Verdict::Redirect, Verdict::Drop)
        }
    }
}

/// `fe80::/10`.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80)
}

/// Whether it can be one host's address on a network.
fn is_unicast(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_loopback() || address.is_multicast() || address.is_unspecified() || is_broadcast)
}

fn turn_away(world: &World, rule: &Rule, source: IpAddr) -> Option<Because> {
    if rule.turns_away(source) {
        return Some(Because::UntrustedSource);
    }
    let is_exhausted = rule.limit.is_some() && world.exhausted.contains(&(rule.port, source));
    is_exhausted.then_some(Because::SynRate)
}

fn guard(world: &World, frame: &[u8]) -> Verdict {
    match read(frame) {
        Reading::Void => Verdict::Any,
        Reading::Segment(segment)
            if segment.is_plain && segment.opens() && !is_loopback(Some(segment.tuple.source)) =>
        {
            let Tuple { source, destination, destination_port, .. } = segment.tuple;
            let rule = world.rule_of(destination_port, destination).filter(|it| !it.is_retired);
            let refused = rule.and_then(|rule| turn_away(world, rule, source));
            refused.map_or(Verdict::Pass, Verdict::Drop)
        }
        _ => Verdict::Pass,
    }
}

fn hold(world: &World, arrival: Arrival, frame: &[u8]) -> Verdict {
    if !is_to_us(world, arrival, frame) || is_own(world, arrival) {
        return Verdict::Pass;
    }
    let is_dropped = match read(frame) {
        Reading::Void => return Verdict::Any,
        Reading::Other | Reading::Error(_) => false,
        Reading::Unreadable { source } => world.holds() && !is_loopback(source),
        Reading::Segment(segment) => {
            let is_exempt = is_loopback(Some(segment.tuple.source));
            world.is_held(segment.tuple.destination_port) && segment.may_open() && !is_exempt
        }
    };
    if is_dropped { Verdict::Drop(Because::Held) } else { Verdict::Pass }
}

/// The flags of an answer, and the one that makes it none.
const SYN_ACK: u8 = 0x12;
const RST: u8 = 0x04;

/// The wall at the way out: drops SYN-ACKs of the ends that `is_guarded` names.
fn answer(
    arrival: Arrival,
    frame: &[u8],
    because: Because,
    is_guarded: impl Fn(Tuple) -> bool,
) -> Verdict {
    let segment = match read(frame) {
        Reading::Void => return Verdict::Any,
        Reading::Segment(segment) => segment,
        Reading::Other | Reading::Unreadable { .. } | Reading::Error(_) => return Verdict::Pass,
    };
    let flags = segment.flags.unwrap_or(0);
    let is_steered = arrival.came_by == CameBy::Veth;
    let is_exempt = is_steered || is_loopback(Some(segment.tuple.destination));
    // Whatever its mark: a mark can be reflected. On `lo`, what a socket of Foreword's own waits for
    // would pass; here is none.
    if flags & SYN_ACK != SYN_ACK || is_exempt || !is_guarded(segment.tuple) {
        return Verdict::Pass;
    }
    // No stack sends those, and no client takes the former for an answer.
    if flags & RST != 0 || segment.is_first_fragment {
        return Verdict::Any;
    }
    Verdict::Drop(because)
}

/// 127.0.0.0/8 or `::1`. Nobody knows is no.
fn is_loopback(address: Option<IpAddr>) -> bool {
    address.is_some_and(|address| address.is_loopback())
}
