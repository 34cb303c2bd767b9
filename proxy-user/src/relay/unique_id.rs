//! Names for connections, to find the same one in our log and in the upstream's.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

/// A worker's names. No two of one worker are the same; two of different workers or runs are the
/// same as likely as two random 64-bit numbers are.
#[derive(Debug)]
pub struct UniqueIds {
    worker: u64,
    next: Cell<u64>,
}

impl Default for UniqueIds {
    fn default() -> Self {
        // The standard library's own way to random numbers: seeded by the system.
        Self { worker: RandomState::new().hash_one(0), next: Cell::new(0) }
    }
}

impl UniqueIds {
    /// The next name: 32 hexadecimal digits.
    pub fn next(&self) -> String {
        let number = self.next.get();
        self.next.set(number + 1);
        format!("{:016x}{number:016x}", self.worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Outbound;

    #[test]
    fn names_differ_within_a_worker_and_between_workers() {
        let (one, two) = (UniqueIds::default(), UniqueIds::default());
        let names = [one.next(), one.next(), two.next(), two.next()];
        for (i, name) in names.iter().enumerate() {
            assert!(
                name.len() == Outbound::UNIQUE_ID
                    && name.bytes().all(|byte| byte.is_ascii_hexdigit())
            );
            assert!(!names[..i].contains(name), "{names:?}");
        }
    }
}
