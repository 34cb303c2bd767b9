//! What each program must do with a frame, in plain Rust and from the specification alone.

use std::fmt;
use std::net::IpAddr;

use crate::facts::{FourTuple, NodeFacts, Rule};
use crate::packet::{Arrival, Ingress, Interface, Mark};
use crate::parse::{Parsed, Segment, parse};

/// The verdict that a program must return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    Pass,
    Drop(DropReason),
    Redirect,
    /// Whatever the verdict, the kernel drops the frame.
    Any,
}

/// Why a frame is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
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

impl DropReason {
    /// The name in counters; a hold has a counter of its own.
    pub const fn name(self) -> Option<&'static str> {
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

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Redirect => f.write_str("redirect"),
            Self::Any => f.write_str("any"),
            Self::Drop(DropReason::Held) => f.write_str("drop held"),
            Self::Drop(reason) => write!(f, "drop {}", reason.name().unwrap_or("?")),
        }
    }
}

/// A program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    Steer,
    Guard,
    Hold,
    /// Drops SYN-ACKs at egress.
    SynAck,
    /// Drops SYN-ACKs of held ports at egress.
    HoldTx,
}

impl Program {
    pub const ALL: [Self; 5] = [Self::Steer, Self::Guard, Self::Hold, Self::SynAck, Self::HoldTx];

    /// Its name in the kernel.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steer => "foreword_steer",
            Self::Guard => "foreword_guard",
            Self::Hold => "foreword_hold",
            Self::SynAck => "foreword_synack",
            Self::HoldTx => "foreword_holdtx",
        }
    }

    /// The verdict that it must return for a frame.
    pub fn expected(self, facts: &NodeFacts, arrival: Arrival, frame: &[u8]) -> Expected {
        match self {
            Self::Steer => steer(facts, arrival, frame),
            Self::Guard => guard(facts, frame),
            Self::Hold => hold(facts, arrival, frame),
            Self::SynAck => syn_ack(arrival, frame, DropReason::UnsteeredAnswer, |tuple| {
                let rule = facts.rule_of(tuple.source_port, tuple.source);
                rule.is_some_and(Rule::guards_answers)
            }),
            Self::HoldTx => {
                syn_ack(arrival, frame, DropReason::Held, |it| facts.is_held(it.source_port))
            }
        }
    }
}

/// Which socket of the private namespace a segment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SocketMatch {
    Connection,
    NewConnection,
    SynCookie,
    None,
}

fn match_socket(facts: &NodeFacts, segment: &Segment) -> SocketMatch {
    let cookie = (segment.tuple, segment.acknowledgment);
    if facts.flows.contains(&segment.tuple) {
        SocketMatch::Connection
    } else if segment.is_initial_syn() {
        SocketMatch::NewConnection
    } else if facts.cookies.contains(&cookie) && is_ack(segment) {
        SocketMatch::SynCookie
    } else {
        SocketMatch::None
    }
}

/// ACK without SYN or RST.
fn is_ack(segment: &Segment) -> bool {
    segment.flags.is_some_and(|flags| flags & 0x16 == 0x10)
}

/// Whether the frame is addressed to the interface that it comes in by.
fn is_addressed_here(facts: &NodeFacts, arrival: Arrival, frame: &[u8]) -> bool {
    let ours = match arrival.interface {
        Interface::Protected => facts.link_address,
        Interface::Loopback => [0; 6],
    };
    frame.starts_with(&ours)
}

/// Whether it carries the mark of Foreword's own packets.
fn is_own(facts: &NodeFacts, arrival: Arrival) -> bool {
    arrival.mark == Mark::Own && facts.own_mark != 0
}

fn steer(facts: &NodeFacts, arrival: Arrival, frame: &[u8]) -> Expected {
    if !is_addressed_here(facts, arrival, frame) || is_own(facts, arrival) {
        return Expected::Pass;
    }
    match parse(frame) {
        Parsed::Discarded => Expected::Any,
        Parsed::Unreadable { source } if !is_loopback(source) && facts.restricts() => {
            Expected::Drop(DropReason::UnreadablePacket)
        }
        Parsed::IcmpError(tuple)
            if facts.flows.contains(&tuple) && !is_loopback(Some(tuple.source)) =>
        {
            Expected::Redirect
        }
        Parsed::NotOurs | Parsed::Unreadable { .. } | Parsed::IcmpError(_) => Expected::Pass,
        Parsed::Segment(segment) => steer_segment(facts, arrival, &segment),
    }
}

fn steer_segment(facts: &NodeFacts, arrival: Arrival, segment: &Segment) -> Expected {
    let FourTuple { source, destination, destination_port, .. } = segment.tuple;
    if is_loopback(Some(source)) || !facts.has_port(destination_port) {
        return Expected::Pass;
    }
    // For other destinations than those of its rules, a port is like one whose rule has been
    // retired.
    let rule = facts.rule_of(destination_port, destination).filter(|rule| !rule.is_retired);
    let restricts = rule.is_some_and(Rule::restricts);
    if is_link_local(source) || is_link_local(destination) {
        let may_be_initial_syn = segment.is_first_fragment || segment.is_initial_syn();
        let is_dropped = restricts && may_be_initial_syn;
        return if is_dropped { Expected::Drop(DropReason::LinkLocal) } else { Expected::Pass };
    }
    let matched = match_socket(facts, segment);
    if segment.is_first_fragment {
        let may_be_ours = rule.is_some() && (restricts || segment.may_be_initial_syn());
        return if may_be_ours || matched == SocketMatch::Connection {
            Expected::Drop(DropReason::Fragment)
        } else {
            Expected::Pass
        };
    }
    if segment.is_source_routed && restricts && segment.is_initial_syn() {
        return Expected::Drop(DropReason::UnreadablePacket);
    }
    let is_on_lo = arrival.interface == Interface::Loopback;
    if segment.is_initial_syn()
        && matched != SocketMatch::None
        && !is_on_lo
        && facts.waiting.contains(&segment.tuple)
    {
        return Expected::Drop(DropReason::UpstreamLoop);
    }
    match (matched, rule) {
        (SocketMatch::Connection | SocketMatch::SynCookie, _) => Expected::Redirect,
        (SocketMatch::None, _) | (SocketMatch::NewConnection, None) => Expected::Pass,
        (SocketMatch::NewConnection, Some(rule)) => {
            let is_checked_in_xdp = facts.setup.has_xdp() && segment.is_plain;
            let refused = if is_checked_in_xdp { None } else { refusal(facts, rule, source) };
            // No route leads to a source like this, and the kernel serves none either.
            let asks_routes = facts.setup.reply == "arrival" && !is_on_lo;
            if refused.is_none() && asks_routes && !is_unicast(destination) {
                return Expected::Any;
            }
            refused.map_or(Expected::Redirect, Expected::Drop)
        }
    }
}

/// `fe80::/10`.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80)
}

/// Whether it can be the address of one host.
fn is_unicast(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_loopback() || address.is_multicast() || address.is_unspecified() || is_broadcast)
}

fn refusal(facts: &NodeFacts, rule: &Rule, source: IpAddr) -> Option<DropReason> {
    if rule.refuses_source(source) {
        return Some(DropReason::UntrustedSource);
    }
    let is_exhausted = rule.limit.is_some() && facts.exhausted.contains(&(rule.port, source));
    is_exhausted.then_some(DropReason::SynRate)
}

fn guard(facts: &NodeFacts, frame: &[u8]) -> Expected {
    match parse(frame) {
        Parsed::Discarded => Expected::Any,
        Parsed::Segment(segment)
            if segment.is_plain
                && segment.is_initial_syn()
                && !is_loopback(Some(segment.tuple.source)) =>
        {
            let FourTuple { source, destination, destination_port, .. } = segment.tuple;
            let rule = facts.rule_of(destination_port, destination).filter(|it| !it.is_retired);
            let refused = rule.and_then(|rule| refusal(facts, rule, source));
            refused.map_or(Expected::Pass, Expected::Drop)
        }
        _ => Expected::Pass,
    }
}

fn hold(facts: &NodeFacts, arrival: Arrival, frame: &[u8]) -> Expected {
    if !is_addressed_here(facts, arrival, frame) || is_own(facts, arrival) {
        return Expected::Pass;
    }
    let is_dropped = match parse(frame) {
        Parsed::Discarded => return Expected::Any,
        Parsed::NotOurs | Parsed::IcmpError(_) => false,
        Parsed::Unreadable { source } => facts.holds() && !is_loopback(source),
        Parsed::Segment(segment) => {
            let is_exempt = is_loopback(Some(segment.tuple.source));
            facts.is_held(segment.tuple.destination_port)
                && segment.may_be_initial_syn()
                && !is_exempt
        }
    };
    if is_dropped { Expected::Drop(DropReason::Held) } else { Expected::Pass }
}

/// The flags of a SYN-ACK, and the one that it must not have.
const SYN_ACK: u8 = 0x12;
const RST: u8 = 0x04;

/// At egress: drops SYN-ACKs whose four-tuple `is_guarded`.
fn syn_ack(
    arrival: Arrival,
    frame: &[u8],
    reason: DropReason,
    is_guarded: impl Fn(FourTuple) -> bool,
) -> Expected {
    let segment = match parse(frame) {
        Parsed::Discarded => return Expected::Any,
        Parsed::Segment(segment) => segment,
        Parsed::NotOurs | Parsed::Unreadable { .. } | Parsed::IcmpError(_) => {
            return Expected::Pass;
        }
    };
    let flags = segment.flags.unwrap_or(0);
    let is_steered = arrival.ingress == Ingress::Veth;
    let is_exempt = is_steered || is_loopback(Some(segment.tuple.destination));
    // The packet's mark doesn't matter, since marks can be reflected. On `lo`, a SYN-ACK for a
    // socket of Foreword's would pass; this test has none.
    if flags & SYN_ACK != SYN_ACK || is_exempt || !is_guarded(segment.tuple) {
        return Expected::Pass;
    }
    // No stack sends these, and no client accepts the first kind.
    if flags & RST != 0 || segment.is_first_fragment {
        return Expected::Any;
    }
    Expected::Drop(reason)
}

/// 127.0.0.0/8 or `::1`; false if unknown.
fn is_loopback(address: Option<IpAddr>) -> bool {
    address.is_some_and(|address| address.is_loopback())
}
