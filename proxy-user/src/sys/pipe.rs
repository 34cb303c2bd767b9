//! Pipes for `splice(2)`: bytes go from socket to socket without a copy to userspace.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

/// What a pipe should hold. Half of it costs a third more CPU in bulk, the default of 64 KiB several
/// times as much; twice as much moves less, since either end waits longer for the other.
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
    /// Opens one, of [`CAPACITY`] where the user's pipe limits allow it, else of the default.
    pub fn open() -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        // A refusal leaves the default capacity: slower, not wrong.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY));
        Ok(Self { read, write })
    }

    /// Moves bytes from a socket into the pipe; 0 means the socket's end of data. On an empty
    /// pipe, `WouldBlock` means that the socket has nothing; on another, it can mean a full pipe.
    pub fn fill_from(&self, socket: impl AsFd) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        Ok(splice(socket, None, &self.write, None, AS_MUCH_AS_FITS, flags)?)
    }

    /// Moves up to `length` bytes, which the pipe holds, into a socket. `WouldBlock` means that
    /// the socket takes no more now.
    pub fn drain_to(&self, socket: impl AsFd, length: usize) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        Ok(splice(&self.read, None, socket, None, length, flags)?)
    }
}
