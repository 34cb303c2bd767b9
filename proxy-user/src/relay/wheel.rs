//! The deadlines of many connections: a timer wheel, one for each worker.
//!
//! Almost every deadline is put off long before it comes. So a session keeps its own deadline and has one
//! entry here; an entry that comes too early is put in again, and none is ever removed. Knows no clock.

use std::mem;

/// How many milliseconds a tick lasts: no deadline is kept more precisely.
pub const TICK_MS: u64 = 16;
/// How many slots there are. What lies more ticks ahead than that comes early, and is put in again.
const SLOTS: u64 = 2048;
/// How many slots share one word of the occupancy bitmap.
const WORD: usize = 64;
/// How many words the bitmap has.
const WORDS: usize = index(SLOTS - 1) / WORD + 1;

/// The slot of a tick.
#[allow(clippy::cast_possible_truncation, reason = "the remainder is below the number of slots")]
const fn index(tick: u64) -> usize {
    (tick % SLOTS) as usize
}

/// A time in ticks, since the worker's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// A tick that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The tick that includes this millisecond.
    pub const fn at(milliseconds: u64) -> Self {
        Self(milliseconds / TICK_MS)
    }

    /// The first tick that does not begin before this millisecond.
    pub const fn not_before(milliseconds: u64) -> Self {
        Self(milliseconds.div_ceil(TICK_MS))
    }

    /// When it begins, in milliseconds.
    pub const fn milliseconds(self) -> u64 {
        self.0.saturating_mul(TICK_MS)
    }
}

/// Entries, sorted by the tick at which they come.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Box<[Vec<T>]>,
    occupied: [u64; WORDS],
    /// Everything before this tick has come.
    now: u64,
}

impl<T> Wheel<T> {
    /// An empty wheel.
    pub fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), occupied: [0; WORDS], now: 0 }
    }

    /// Puts in an entry that is to come at a tick. It comes earlier if the tick is far ahead, and with the
    /// next turn if the tick has passed.
    pub fn insert(&mut self, at: Tick, entry: T) {
        let slot = index(at.0.clamp(self.now, self.now + SLOTS - 1));
        self.slots[slot].push(entry);
        self.occupied[slot / WORD] |= 1 << (slot % WORD);
    }

    /// When the next entry comes; `None` if there is none.
    pub fn next(&self) -> Option<Tick> {
        let start = index(self.now);
        // The current slot's word is looked at twice: first for the slots ahead, last for those behind.
        (0..=WORDS).find_map(|step| {
            let word = (start / WORD + step) % WORDS;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % WORD);
            }
            let slot = (word * WORD) as u64 + u64::from(bits.trailing_zeros());
            let ahead = (slot + SLOTS - self.now % SLOTS) % SLOTS;
            (bits != 0).then_some(Tick(self.now + ahead))
        })
    }

    /// Turns the wheel to a tick, and takes out the entries up to that tick, inclusive.
    pub fn turn(&mut self, to: Tick, mut come: impl FnMut(T)) {
        while let Some(next) = self.next().filter(|next| *next <= to) {
            self.now = next.0;
            let slot = index(next.0);
            self.occupied[slot / WORD] &= !(1 << (slot % WORD));
            mem::take(&mut self.slots[slot]).into_iter().for_each(&mut come);
        }
        self.now = self.now.max(to.0 + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn turned(wheel: &mut Wheel<u64>, to: u64) -> Vec<u64> {
        let mut came = Vec::new();
        wheel.turn(Tick(to), |entry| came.push(entry));
        came
    }

    #[test]
    fn entries_come_at_their_tick_and_not_before() {
        let mut wheel = Wheel::new();
        wheel.insert(Tick(5), 5);
        wheel.insert(Tick(3), 3);
        assert_eq!(wheel.next(), Some(Tick(3)));
        assert!(turned(&mut wheel, 2).is_empty());
        assert_eq!(turned(&mut wheel, 3), [3]);
        assert_eq!(wheel.next(), Some(Tick(5)));
        assert_eq!(turned(&mut wheel, 100), [5]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn what_has_passed_comes_with_the_next_turn() {
        let mut wheel = Wheel::new();
        assert!(turned(&mut wheel, 50).is_empty());
        wheel.insert(Tick(7), 7);
        assert_eq!(turned(&mut wheel, 51), [7]);
    }

    #[test]
    fn what_is_far_ahead_comes_early() {
        let mut wheel = Wheel::new();
        wheel.insert(Tick(1 << 40), 1);
        assert_eq!(wheel.next(), Some(Tick(SLOTS - 1)));
        assert_eq!(turned(&mut wheel, SLOTS), [1]);
    }

    #[test]
    fn a_deadline_is_never_kept_too_early() {
        for time in [0, 1, TICK_MS - 1, TICK_MS, TICK_MS + 1, 12_345] {
            let tick = Tick::not_before(time);
            assert!((time..time + TICK_MS).contains(&tick.milliseconds()), "{time}");
            assert!(Tick::at(time) <= tick);
        }
    }

    proptest! {
        /// Against a list that is searched from end to end.
        #[test]
        fn it_agrees_with_a_list(steps in prop::collection::vec((0_u64..5000, 0_u64..400), 1..80)) {
            let (mut wheel, mut list, mut now) = (Wheel::new(), Vec::new(), 0_u64);
            for (ahead, turn) in steps {
                let at = now + ahead.min(SLOTS - 1);
                wheel.insert(Tick(at), at);
                list.push(at);
                prop_assert_eq!(wheel.next(), list.iter().min().map(|at| Tick(*at)));
                let to = now + turn;
                let mut came = turned(&mut wheel, to);
                came.sort_unstable();
                let (mut due, later) = list.iter().partition::<Vec<u64>, _>(|at| **at <= to);
                due.sort_unstable();
                prop_assert_eq!(came, due);
                (list, now) = (later, to + 1);
            }
        }
    }
}
