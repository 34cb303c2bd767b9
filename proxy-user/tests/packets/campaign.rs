//! Runs generated frames through the programs, and compares each verdict with the model's.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::time::Instant;

use proxy_common::Reason;

use crate::dice::Dice;
use crate::generator::{self, Pools};
use crate::kernel::{Kernel, Returned};
use crate::model::{Because, Program, Verdict};
use crate::packet::{Arrival, Packet};
use crate::render;
use crate::simpler::simplest;
use crate::stage::Stage;
use crate::world::World;

/// How many frames run between two looks at the counters.
const BATCH: u64 = 500;
/// How many different disagreements are enough.
const ENOUGH: usize = 12;

/// A frame of which a program did not make what it should.
#[derive(Clone, Debug)]
pub struct Disagreement {
    pub setup: &'static str,
    pub program: Program,
    pub what: String,
    pub arrival: Arrival,
    pub frame: Vec<u8>,
    pub expected: Verdict,
    pub got: String,
    /// How to have it again.
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

pub fn hex(octets: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).expect("four bits");
    octets.iter().flat_map(|octet| [digit(octet >> 4), digit(octet & 0xf)]).collect()
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Runs of a program on a frame.
    pub runs: u64,
    /// By program and verdict that was expected.
    pub verdicts: HashMap<(Program, Verdict), u64>,
    pub disagreements: Vec<Disagreement>,
}

/// Whether a program's answer is the one expected, counters aside.
pub fn agrees(expected: Verdict, returned: Returned) -> bool {
    match expected {
        _ if returned == Returned::Refused => true,
        Verdict::Any => !matches!(returned, Returned::Odd(_)),
        Verdict::Pass => returned == Returned::Pass,
        Verdict::Redirect => returned == Returned::Redirect,
        Verdict::Drop(_) => returned == Returned::Drop,
    }
}

/// Runs the frames of these numbers through every program, and stops early at the deadline. The calling
/// thread is in the node's namespace.
pub fn run(
    stage: &Stage,
    pools: &Pools,
    seed: u64,
    numbers: Range<u64>,
    deadline: Option<Instant>,
) -> Decoded {
    let mut campaign = Campaign { stage, pools, seed, decoded: Decoded::default() };
    let mut next = numbers.start;
    let is_late = || deadline.is_some_and(|deadline| Instant::now() > deadline);
    while next < numbers.end && !is_late() && campaign.decoded.disagreements.len() < ENOUGH {
        let batch = next..numbers.end.min(next + BATCH);
        next = batch.end;
        campaign.run_batch(batch);
    }
    campaign.decoded
}

struct Campaign<'a> {
    stage: &'a Stage,
    pools: &'a Pools,
    seed: u64,
    decoded: Decoded,
}

impl Campaign<'_> {
    fn run_batch(&mut self, numbers: Range<u64>) {
        let kernel = &self.stage.kernel;
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
                self.look_closely(program, numbers.clone());
            }
        }
    }

    fn packet(&self, number: u64) -> Packet {
        generator::packet(&mut Dice::new(self.seed, number), self.pools)
    }

    /// Runs one; whether to go on.
    fn run_one(
        &mut self,
        program: Program,
        packet: &Packet,
        number: u64,
        counts: &mut Counts,
    ) -> bool {
        let Stage { world, kernel, .. } = self.stage;
        let frame = render::frame(packet, link_address(world, packet.arrival));
        let expected = program.expected(world, packet.arrival, &frame);
        let returned = kernel.run(program, world, packet.arrival, &frame);
        self.decoded.runs += 1;
        *self.decoded.verdicts.entry((program, expected)).or_default() += 1;
        counts.add(program, expected, returned);
        if agrees(expected, returned) {
            return true;
        }
        let simple =
            simplest(packet.clone(), |packet| disagreement(self.stage, program, packet).is_some());
        if let Some((frame, expected, got)) = disagreement(self.stage, program, &simple) {
            let got = format!("{got:?}");
            self.note(program, &simple, frame, expected, got, number);
        }
        self.decoded.disagreements.len() < ENOUGH
    }

    /// Some frame of these was counted for another reason than it should have been: which?
    fn look_closely(&mut self, program: Program, numbers: Range<u64>) {
        for number in numbers {
            let packet = self.packet(number);
            if miscount(self.stage, program, &packet).is_none() {
                continue;
            }
            let simple = simplest(packet, |it| miscount(self.stage, program, it).is_some());
            if let Some((frame, expected, got)) = miscount(self.stage, program, &simple) {
                return self.note(program, &simple, frame, expected, got, number);
            }
        }
    }

    fn note(
        &mut self,
        program: Program,
        packet: &Packet,
        frame: Vec<u8>,
        expected: Verdict,
        got: String,
        number: u64,
    ) {
        let setup = self.stage.world.setup.name;
        let what = packet.to_string();
        let known = &self.decoded.disagreements;
        let is_new =
            |it: &Disagreement| it.program != program || it.expected != expected || it.got != got;
        // The same fault shows in many frames; a few of each are enough.
        if known.iter().filter(|it| !is_new(it)).count() >= 2
            || known.iter().any(|it| it.what == what)
        {
            return;
        }
        let origin = format!(
            "again: FOREWORD_PACKETS_SEED={} FOREWORD_PACKETS_FIRST={number} FOREWORD_PACKETS=1",
            self.seed
        );
        let arrival = packet.arrival;
        let disagreement =
            Disagreement { setup, program, what, arrival, frame, expected, got, origin };
        self.decoded.disagreements.push(disagreement);
    }
}

/// The address that a frame is for, if it is for us.
pub fn link_address(world: &World, arrival: Arrival) -> [u8; 6] {
    match arrival.interface {
        crate::packet::Interface::Protected => world.link_address,
        crate::packet::Interface::Loopback => [0; 6],
    }
}

fn disagreement(
    stage: &Stage,
    program: Program,
    packet: &Packet,
) -> Option<(Vec<u8>, Verdict, Returned)> {
    let Stage { world, kernel, .. } = stage;
    let frame = render::frame(packet, link_address(world, packet.arrival));
    let expected = program.expected(world, packet.arrival, &frame);
    let returned = kernel.run(program, world, packet.arrival, &frame);
    (!agrees(expected, returned)).then_some((frame, expected, returned))
}

fn miscount(
    stage: &Stage,
    program: Program,
    packet: &Packet,
) -> Option<(Vec<u8>, Verdict, String)> {
    let Stage { world, kernel, .. } = stage;
    let frame = render::frame(packet, link_address(world, packet.arrival));
    let expected = program.expected(world, packet.arrival, &frame);
    let got = judged(kernel, program, world, packet.arrival, &frame);
    let mut counts = Counts::default();
    counts.add(program, expected, got.0);
    (!counts.explain(&vec![0; got.1.len()], &got.1)).then(|| (frame, expected, words(&got)))
}

/// A program's answer, and what it counted.
pub fn judged(
    kernel: &Kernel,
    program: Program,
    world: &World,
    arrival: Arrival,
    frame: &[u8],
) -> (Returned, Vec<u64>) {
    let before = kernel.drops();
    let returned = kernel.run(program, world, arrival, frame);
    let after = kernel.drops();
    (returned, after.iter().zip(&before).map(|(after, before)| after - before).collect())
}

/// In words: what was returned, and for which reasons.
pub fn words((returned, counted): &(Returned, Vec<u64>)) -> String {
    let reasons = Reason::ALL.iter().zip(counted).filter(|(_, count)| **count != 0);
    let reasons: Vec<_> = reasons.map(|(reason, count)| format!("{reason} {count}")).collect();
    format!("{returned:?}, counted [{}]", reasons.join(", "))
}

/// Drops that the counters should tell of.
#[derive(Default)]
struct Counts {
    expected: HashMap<&'static str, u64>,
    /// Drops of frames that anything may be said of: their reasons are nobody's business.
    free: u64,
}

impl Counts {
    fn add(&mut self, program: Program, expected: Verdict, returned: Returned) {
        match expected {
            _ if returned == Returned::Refused => {}
            // A hold outlives the process, and counts in a map of its own.
            _ if matches!(program, Program::Hold | Program::HoldTx) => {}
            Verdict::Drop(because) if because != Because::Held => {
                *self.expected.entry(because.word().expect("not held")).or_default() += 1;
            }
            Verdict::Any if returned == Returned::Drop => self.free += 1,
            _ => {}
        }
    }

    /// Whether the counters have moved as they should have.
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
