//! Keeps the process's lowest file descriptors free for what must be closed first.
//!
//! A dying process closes its descriptors in ascending order. The steering links have to go before
//! the listeners and connections: then a new connection finds its way past us at once, and none is
//! led to a listener that is no longer there. The kernel gives out the lowest free descriptor, so
//! it is enough to occupy the low ones early and to free one right before a link is made.

use std::fs::File;
use std::io;

/// Low descriptors, occupied until they are wanted.
#[derive(Debug)]
pub struct Slots(Vec<File>);

impl Slots {
    /// Occupies the `count` lowest free descriptors. To be called before anything else is opened.
    pub fn reserve(count: usize) -> io::Result<Self> {
        (0..count).map(|_| File::open("/dev/null")).collect::<io::Result<_>>().map(Self)
    }

    /// Frees the highest of them, for the descriptor that is made next. Without any left, that
    /// descriptor is an ordinary one.
    pub fn free_one(&mut self) {
        self.0.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn slots_are_freed_from_the_top() {
        let mut slots = Slots::reserve(3).unwrap();
        let numbers: Vec<_> = slots.0.iter().map(AsRawFd::as_raw_fd).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        slots.free_one();
        let left: Vec<_> = slots.0.iter().map(AsRawFd::as_raw_fd).collect();
        assert_eq!(left, numbers[..2]);
    }
}
