//! How much a worker does before it looks for news again.
//!
//! One client must not keep a worker from all others, be it by sending faster than it is read. So a
//! session's turn ends after some steps, and what is left is done when its next turn comes. And a
//! round, which is what lies between two waits, has three parts (new connections, turns, deadlines),
//! each of which begins nothing more after some more steps; none can starve another. An edge is not
//! lost by that: what was told of a socket is kept with it ([`super::stream::Socket`]).

/// Steps of a session in a row, in one direction. A step is a read, a write, or a read with its write,
/// of 64 KiB at most.
pub const STEPS: u32 = 32;
/// Steps that a splice counts as, into a pipe or out of one: it moves several times as much.
pub const SPLICE: u32 = 4;
/// Reads of a turn where nobody wants what is read.
pub const DISCARDS: u32 = 4;
/// Addresses of an upstream that are tried in a turn.
pub const ATTEMPTS: u32 = 4;
/// Steps that each of them counts as.
pub const ATTEMPT: u32 = 4;
/// Steps in a part of a round, after which it begins nothing more.
const PART: u32 = 512;
/// Steps of one turn at most: that of a session that begins, is connected and relayed at once.
const TURN: u32 = STEPS + ATTEMPTS * ATTEMPT + 2 * (STEPS + SPLICE);

/// What a part of a round has come to so far.
#[derive(Debug, Default)]
pub struct Work {
    steps: u32,
}

impl Work {
    /// A part begins.
    pub fn begin_part(&mut self) {
        self.steps = 0;
    }

    /// Steps are taken.
    pub fn count(&mut self, steps: u32) {
        self.steps += steps;
        debug_assert!(self.steps <= PART + TURN, "a turn without an end");
    }

    /// Whether the rest is for the next round.
    pub const fn is_enough(&self) -> bool {
        self.steps >= PART
    }
}
