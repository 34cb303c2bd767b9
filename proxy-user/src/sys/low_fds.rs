//! Keeps the process's lowest file descriptors free for what must be closed first.
//!
//! The kernel closes a dying process's descriptors in ascending order. The links that steer must go
//! before the listeners and connections do: then a new connection flows past us at once, instead of
//! being steered to a listener that is gone. The kernel hands out the lowest free descriptor, so it
//! is enough to occupy the low ones early, and to release one right before a link is made.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// Low descriptors, occupied until they are wanted.
#[derive(Debug)]
pub struct LowFds {
    occupied: Vec<File>,
    highest: RawFd,
}

impl LowFds {
    /// Occupies the `count` lowest free descriptors. Call this before anything else is opened.
    pub fn reserve(count: usize) -> io::Result<Self> {
        let occupied = (0..count).map(|_| occupy()).collect::<io::Result<Vec<_>>>()?;
        let highest = occupied.iter().map(AsRawFd::as_raw_fd).max().unwrap_or(-1);
        Ok(Self { occupied, highest })
    }

    /// Occupies the low descriptors of links that have been closed since.
    pub fn refill(&mut self) {
        // If descriptors have run out, later links get ordinary ones.
        while let Ok(file) = occupy() {
            if file.as_raw_fd() > self.highest {
                break;
            }
            self.occupied.push(file);
        }
        self.occupied.sort_by_key(AsRawFd::as_raw_fd);
    }

    /// Releases the highest of them, so that the next descriptor to be made takes its number. If
    /// there are none left, that will be an ordinary descriptor.
    pub fn release_one(&mut self) {
        self.occupied.pop();
    }
}

fn occupy() -> io::Result<File> {
    File::open("/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_is_released_first() {
        let mut low_fds = LowFds::reserve(3).unwrap();
        let numbers: Vec<_> = low_fds.occupied.iter().map(AsRawFd::as_raw_fd).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        low_fds.release_one();
        let left: Vec<_> = low_fds.occupied.iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(left, numbers[..2]);
    }

    #[test]
    fn a_descriptor_that_was_closed_is_occupied_again() {
        let mut low_fds = LowFds::reserve(3).unwrap();
        low_fds.release_one();
        low_fds.refill();
        // Another test may have been faster in taking that descriptor.
        let numbers: Vec<_> = low_fds.occupied.iter().map(AsRawFd::as_raw_fd).collect();
        assert!(numbers.len() >= 2 && numbers.iter().all(|number| *number <= low_fds.highest));
        assert!(numbers.is_sorted());
    }
}
