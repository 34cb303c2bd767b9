//! Pipes for `splice(2)`, which moves bytes from socket to socket without a copy to user space.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

/// How much a pipe should hold. In bulk, half of this costs a third more CPU, and the default of 64 KiB
/// several times as much; with twice as much, throughput drops, since each end waits longer for the
/// other.
pub const CAPACITY: i32 = 512 * 1024;
/// More than any pipe holds: the kernel moves what it can.
const AS_MUCH_AS_FITS: usize = 1 << 20;

/// A pipe whose ends never block.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// Opens a pipe of [`CAPACITY`] if the user's pipe limits allow it, otherwise of the default.
    pub fn open() -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        // The default capacity is slower, not wrong.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        Ok(Self { read, write })
    }

    /// Moves bytes from a socket into the pipe; 0 means the end of data. On an empty pipe, `WouldBlock`
    /// means that the socket has nothing to read; otherwise it can also mean that the pipe is full.
    pub fn fill_from(&self, socket: impl AsFd) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        Ok(splice(socket, None, &self.write, None, AS_MUCH_AS_FITS, flags)?)
    }

    /// Moves up to `length` bytes, which must be in the pipe, into a socket. `WouldBlock` means that the
    /// socket takes no more now.
    pub fn drain_to(&self, socket: impl AsFd, length: usize) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        Ok(splice(&self.read, None, socket, None, length, flags)?)
    }
}
