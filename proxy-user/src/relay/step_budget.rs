//! How much a worker does before it looks for events again.
//!
//! One client must not keep a worker from all others, be it by sending faster than it is read. So a
//! session's turn ends after a number of steps, and the rest is done in its next turn. And a round, which
//! is what lies between two waits for events, has three parts (new connections, turns, deadlines), each of
//! which begins nothing new once its budget is exhausted, so that none can starve another. No edge is lost
//! by that: what an event has said about a socket is kept with it ([`super::stream::Socket`]).

/// Steps of a session in a row, in one direction. A step is a read, a write, or a read with its write,
/// of 64 KiB at most.
pub const STEPS: u32 = 32;
/// How many steps a splice counts as, into a pipe or out of one: it moves several times as much.
pub const SPLICE: u32 = 4;
/// Reads in one turn of a session that discards what it reads.
pub const DISCARDS: u32 = 4;
/// How many of an upstream's addresses are tried in one turn.
pub const ATTEMPTS: u32 = 4;
/// How many steps each of them counts as.
pub const ATTEMPT: u32 = 4;
/// Steps in one part of a round.
const PART: u32 = 512;
/// Steps of one turn at most: that of a session that begins, is connected and relayed at once.
const TURN: u32 = STEPS + ATTEMPTS * ATTEMPT + 2 * (STEPS + SPLICE);

/// The steps that were taken in one part of a round.
#[derive(Debug, Default)]
pub struct StepBudget {
    spent: u32,
}

impl StepBudget {
    /// Begins a part.
    pub fn reset(&mut self) {
        self.spent = 0;
    }

    /// Counts steps.
    pub fn spend(&mut self, steps: u32) {
        self.spent += steps;
        debug_assert!(self.spent <= PART + TURN, "a turn without an end");
    }

    /// Whether the rest is left to the next round.
    pub const fn is_exhausted(&self) -> bool {
        self.spent >= PART
    }
}
