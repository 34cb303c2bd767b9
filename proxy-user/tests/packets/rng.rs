//! Reproducible random numbers: a seed and a number always give the same packet.

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

/// The random numbers from which one packet is made.
pub struct Rng(TestRng);

impl Rng {
    /// Those for packet `number` of a seed.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut state = [0; 16];
        // The generator is made for speed, so the state is mixed for neighbours to start far apart.
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
        state[..8].copy_from_slice(&(seed ^ mixed).to_le_bytes());
        state[8..].copy_from_slice(&mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes());
        let mut rng = Self(TestRng::from_seed(RngAlgorithm::XorShift, &state));
        (0..4).for_each(|_| _ = rng.long());
        rng
    }

    pub fn long(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub fn word(&mut self) -> u16 {
        (self.long() >> 24) as u16
    }

    /// From 0 to `last`, both included.
    pub fn up_to(&mut self, last: usize) -> usize {
        (self.long() >> 16) as usize % (last + 1)
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.up_to(many - 1) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.up_to(from.len() - 1)].clone()
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
