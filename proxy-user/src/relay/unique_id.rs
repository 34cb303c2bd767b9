//! Unique ids of connections, by which one finds the same connection in our log and in the upstream's.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

/// A worker's unique ids. No two of one worker are equal; two of different workers or runs are as likely to
/// be equal as two random 64-bit numbers.
#[derive(Debug)]
pub struct UniqueIds {
    worker: u64,
    next: Cell<u64>,
}

impl Default for UniqueIds {
    fn default() -> Self {
        // The standard library's source of random numbers, seeded by the system.
        Self { worker: RandomState::new().hash_one(0), next: Cell::new(0) }
    }
}

impl UniqueIds {
    /// The next unique id: 32 hexadecimal digits.
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
    fn unique_ids_differ_within_a_worker_and_between_workers() {
        let (one, two) = (UniqueIds::default(), UniqueIds::default());
        let ids = [one.next(), one.next(), two.next(), two.next()];
        for (i, id) in ids.iter().enumerate() {
            assert!(
                id.len() == Outbound::UNIQUE_ID && id.bytes().all(|byte| byte.is_ascii_hexdigit())
            );
            assert!(!ids[..i].contains(id), "{ids:?}");
        }
    }
}
