//! Runs generated frames through the programs and compares each verdict with the model's.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::time::Instant;

use proxy_common::Reason;

use crate::facts::NodeFacts;
use crate::generator::{self, Pools};
use crate::kernel::{Kernel, Returned};
use crate::model::{DropReason, Expected, Program};
use crate::node::TestNode;
use crate::packet::{Arrival, Packet};
use crate::render;
use crate::rng::Rng;
use crate::shrink::shrink;

/// How many frames run before the counters are compared.
const BATCH: u64 = 500;
/// After so many different disagreements, the campaign ends.
const MAX_DISAGREEMENTS: usize = 12;

/// A frame about which a program and the model disagree.
#[derive(Clone, Debug)]
pub struct Disagreement {
    pub setup: &'static str,
    pub program: Program,
    pub what: String,
    pub arrival: Arrival,
    pub frame: Vec<u8>,
    pub expected: Expected,
    pub got: String,
    /// How to reproduce it.
    pub origin: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setup, program, what, arrival, frame, expected, got, origin } = self;
        writeln!(f, "{program:?} on {setup}: expected {expected}, got {got}")?;
        writeln!(f, "  {what}")?;
        writeln!(f, "  {arrival:?}")?;
        writeln!(f, "  {}", hex(frame))?;
        writeln!(f, "  {origin}")
    }
}

pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).expect("four bits");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// The result of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Runs of a program on a frame.
    pub runs: u64,
    /// How often each verdict was expected of each program.
    pub verdicts: HashMap<(Program, Expected), u64>,
    pub disagreements: Vec<Disagreement>,
}

/// Whether a program's verdict is the expected one, counters aside.
pub fn agrees(expected: Expected, returned: Returned) -> bool {
    match expected {
        _ if returned == Returned::Refused => true,
        Expected::Any => !matches!(returned, Returned::Odd(_)),
        Expected::Pass => returned == Returned::Pass,
        Expected::Redirect => returned == Returned::Redirect,
        Expected::Drop(_) => returned == Returned::Drop,
    }
}

/// Runs the frames with these numbers through every program, until the deadline at most. The
/// calling thread has to be in the node's namespace.
pub fn run(
    node: &TestNode,
    pools: &Pools,
    seed: u64,
    numbers: Range<u64>,
    deadline: Option<Instant>,
) -> Outcome {
    let mut campaign = Campaign { node, pools, seed, outcome: Outcome::default() };
    let mut next = numbers.start;
    let is_late = || deadline.is_some_and(|deadline| Instant::now() > deadline);
    while next < numbers.end
        && !is_late()
        && campaign.outcome.disagreements.len() < MAX_DISAGREEMENTS
    {
        let batch = next..numbers.end.min(next + BATCH);
        next = batch.end;
        campaign.run_batch(batch);
    }
    campaign.outcome
}

struct Campaign<'a> {
    node: &'a TestNode,
    pools: &'a Pools,
    seed: u64,
    outcome: Outcome,
}

impl Campaign<'_> {
    fn run_batch(&mut self, numbers: Range<u64>) {
        let kernel = &self.node.kernel;
        for program in Program::ALL.into_iter().filter(|program| kernel.has(*program)) {
            let before = kernel.drops();
            let mut counts = Counts::default();
            for number in numbers.clone() {
                let packet = self.packet(number);
                if !self.run_one(program, &packet, number, &mut counts) {
                    return;
                }
            }
            if !counts.explain(&before, &kernel.drops()) {
                self.find_miscount(program, numbers.clone());
            }
        }
    }

    fn packet(&self, number: u64) -> Packet {
        generator::packet(&mut Rng::new(self.seed, number), self.pools)
    }

    /// Runs one frame; returns whether to continue.
    fn run_one(
        &mut self,
        program: Program,
        packet: &Packet,
        number: u64,
        counts: &mut Counts,
    ) -> bool {
        let TestNode { facts, kernel, .. } = self.node;
        let frame = render::frame(packet, link_address(facts, packet.arrival));
        let expected = program.expected(facts, packet.arrival, &frame);
        let returned = kernel.run(program, facts, packet.arrival, &frame);
        self.outcome.runs += 1;
        *self.outcome.verdicts.entry((program, expected)).or_default() += 1;
        counts.add(program, expected, returned);
        if agrees(expected, returned) {
            return true;
        }
        let simple =
            shrink(packet.clone(), |packet| disagreement(self.node, program, packet).is_some());
        if let Some((frame, expected, got)) = disagreement(self.node, program, &simple) {
            let got = format!("{got:?}");
            self.note(program, &simple, frame, expected, got, number);
        }
        self.outcome.disagreements.len() < MAX_DISAGREEMENTS
    }

    /// Finds a frame that was counted for the wrong reason, given that one of these was.
    fn find_miscount(&mut self, program: Program, numbers: Range<u64>) {
        for number in numbers {
            let packet = self.packet(number);
            if miscount(self.node, program, &packet).is_none() {
                continue;
            }
            let simple = shrink(packet, |it| miscount(self.node, program, it).is_some());
            if let Some((frame, expected, got)) = miscount(self.node, program, &simple) {
                return self.note(program, &simple, frame, expected, got, number);
            }
        }
    }

    fn note(
        &mut self,
        program: Program,
        packet: &Packet,
        frame: Vec<u8>,
        expected: Expected,
        got: String,
        number: u64,
    ) {
        let setup = self.node.facts.setup.name;
        let what = packet.to_string();
        let known = &self.outcome.disagreements;
        let is_new =
            |it: &Disagreement| it.program != program || it.expected != expected || it.got != got;
        // One fault shows in many frames; a few of them are enough.
        if known.iter().filter(|it| !is_new(it)).count() >= 2
            || known.iter().any(|it| it.what == what)
        {
            return;
        }
        let origin = format!(
            "reproduce: FOREWORD_PACKETS_SEED={} FOREWORD_PACKETS_FIRST={number} FOREWORD_PACKETS=1",
            self.seed
        );
        let arrival = packet.arrival;
        let disagreement =
            Disagreement { setup, program, what, arrival, frame, expected, got, origin };
        self.outcome.disagreements.push(disagreement);
    }
}

/// The address of the interface that a frame comes in by.
pub fn link_address(facts: &NodeFacts, arrival: Arrival) -> [u8; 6] {
    match arrival.interface {
        crate::packet::Interface::Protected => facts.link_address,
        crate::packet::Interface::Loopback => [0; 6],
    }
}

fn disagreement(
    node: &TestNode,
    program: Program,
    packet: &Packet,
) -> Option<(Vec<u8>, Expected, Returned)> {
    let TestNode { facts, kernel, .. } = node;
    let frame = render::frame(packet, link_address(facts, packet.arrival));
    let expected = program.expected(facts, packet.arrival, &frame);
    let returned = kernel.run(program, facts, packet.arrival, &frame);
    (!agrees(expected, returned)).then_some((frame, expected, returned))
}

fn miscount(
    node: &TestNode,
    program: Program,
    packet: &Packet,
) -> Option<(Vec<u8>, Expected, String)> {
    let TestNode { facts, kernel, .. } = node;
    let frame = render::frame(packet, link_address(facts, packet.arrival));
    let expected = program.expected(facts, packet.arrival, &frame);
    let got = run_counted(kernel, program, facts, packet.arrival, &frame);
    let mut counts = Counts::default();
    counts.add(program, expected, got.0);
    (!counts.explain(&vec![0; got.1.len()], &got.1)).then(|| (frame, expected, describe(&got)))
}

/// A program's verdict, and the drops that it counted.
pub fn run_counted(
    kernel: &Kernel,
    program: Program,
    facts: &NodeFacts,
    arrival: Arrival,
    frame: &[u8],
) -> (Returned, Vec<u64>) {
    let before = kernel.drops();
    let returned = kernel.run(program, facts, arrival, frame);
    let after = kernel.drops();
    (returned, after.iter().zip(&before).map(|(after, before)| after - before).collect())
}

/// Describes what was returned and counted.
pub fn describe((returned, counted): &(Returned, Vec<u64>)) -> String {
    let reasons = Reason::ALL.iter().zip(counted).filter(|(_, count)| **count != 0);
    let reasons: Vec<_> = reasons.map(|(reason, count)| format!("{reason} {count}")).collect();
    format!("{returned:?}, counted [{}]", reasons.join(", "))
}

/// The drops that should have been counted.
#[derive(Default)]
struct Counts {
    expected: HashMap<&'static str, u64>,
    /// Drops of frames for which any verdict is right, so that they may count for any reason.
    free: u64,
}

impl Counts {
    fn add(&mut self, program: Program, expected: Expected, returned: Returned) {
        match expected {
            _ if returned == Returned::Refused => {}
            // A hold outlives the process and counts in its own map.
            _ if matches!(program, Program::Hold | Program::HoldTx) => {}
            Expected::Drop(reason) if reason != DropReason::Held => {
                *self.expected.entry(reason.name().expect("not held")).or_default() += 1;
            }
            Expected::Any if returned == Returned::Drop => self.free += 1,
            _ => {}
        }
    }

    /// Whether the counters changed as they should have.
    fn explain(&self, before: &[u64], after: &[u64]) -> bool {
        let mut beyond = 0;
        for (number, reason) in Reason::ALL.iter().enumerate() {
            let (counted, expected) = (
                after[number] - before[number],
                self.expected.get(reason.name()).copied().unwrap_or(0),
            );
            let Some(more) = counted.checked_sub(expected) else { return false };
            beyond += more;
        }
        beyond <= self.free
    }
}
