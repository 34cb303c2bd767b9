//! Keeps the process's lowest file descriptors free for what must be closed first.
//!
//! A dying process closes its descriptors in ascending order. The steering links have to go before
//! the listeners and connections: then a new connection finds its way past us at once, and none is
//! led to a listener that is no longer there. The kernel gives out the lowest free descriptor, so
//! it is enough to occupy the low ones early and to free one right before a link is made.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Low descriptors, occupied until they are wanted.
#[derive(Debug)]
pub struct Slots {
    free: Vec<File>,
    highest: RawFd,
}

impl Slots {
    /// Occupies the `count` lowest free descriptors. To be called before anything else is opened.
    pub fn reserve(count: usize) -> io::Result<Self> {
        let free = (0..count).map(|_| occupy()).collect::<io::Result<Vec<_>>>()?;
        let highest = free.iter().map(AsRawFd::as_raw_fd).max().unwrap_or(-1);
        Ok(Self { free, highest })
    }

    /// Occupies the low descriptors again of links that are gone.
    pub fn refill(&mut self) {
        // Without a descriptor to spare, later links get ordinary ones.
        while let Ok(file) = occupy() {
            if file.as_raw_fd() > self.highest {
                break;
            }
            self.free.push(file);
        }
        self.free.sort_by_key(AsRawFd::as_raw_fd);
    }

    /// Frees the highest of them, for the descriptor that is made next. Without any left, that
    /// descriptor is an ordinary one.
    pub fn free_one(&mut self) {
        self.free.pop();
    }
}

fn occupy() -> io::Result<File> {
    File::open("/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_freed_from_the_top() {
        let mut slots = Slots::reserve(3).unwrap();
        let numbers: Vec<_> = slots.free.iter().map(AsRawFd::as_raw_fd).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        slots.free_one();
        let left: Vec<_> = slots.free.iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(left, numbers[..2]);
    }

    #[test]
    fn a_slot_whose_link_is_gone_is_occupied_again() {
        let mut slots = Slots::reserve(3).unwrap();
        slots.free_one();
        slots.refill();
        // Another test may have been faster in taking that descriptor.
        assert!(slots.free.len() >= 2 && slots.free.iter().all(|f| f.as_raw_fd() <= slots.highest));
        assert!(slots.free.iter().map(AsRawFd::as_raw_fd).is_sorted());
    }
}
