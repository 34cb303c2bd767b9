//! How large a TCP socket's buffers may get.
//!
//! The kernel lets both grow as bytes move. Shrinking one is no option: a receive buffer below the
//! announced window makes the kernel drop what the peer may still send, and the peer backs off more
//! with each retransmission. So buffers can be kept from growing, and nothing more.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::sockopt::{RcvBuf, SndBuf};
use nix::sys::socket::{getsockopt, setsockopt};
use nix::{libc, setsockopt_impl, sockopt_impl};

sockopt_impl!(
    /// Which of a socket's buffers are exempt from the kernel's autotuning.
    BufLock,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_BUF_LOCK,
    libc::c_int
);

/// `SOCK_SNDBUF_LOCK | SOCK_RCVBUF_LOCK`.
const BOTH: libc::c_int = 1 | 2;

/// How many received and unread bytes the kernel keeps at most, with its own overhead.
pub fn receive_size(socket: &impl AsFd) -> io::Result<u64> {
    Ok(getsockopt(socket, RcvBuf)? as u64)
}

/// How many written and unacknowledged bytes the kernel keeps at most, with its own overhead.
pub fn send_size(socket: &impl AsFd) -> io::Result<u64> {
    Ok(getsockopt(socket, SndBuf)? as u64)
}

/// Keeps both from growing, or lets them grow again. This needs Linux 5.15.
pub fn keep_from_growing(socket: &impl AsFd, locked: bool) -> io::Result<()> {
    Ok(setsockopt(socket, BufLock, &if locked { BOTH } else { 0 })?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use nix::getsockopt_impl;

    use super::*;

    sockopt_impl!(BufLocked, GetOnly, libc::SOL_SOCKET, libc::SO_BUF_LOCK, libc::c_int);

    #[test]
    fn a_lock_can_be_taken_and_lifted() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let sizes = (receive_size(&socket).unwrap(), send_size(&socket).unwrap());
        assert!(sizes.0 > 0 && sizes.1 > 0);
        assert_eq!(getsockopt(&socket, BufLocked), Ok(0));
        keep_from_growing(&socket, true).unwrap();
        assert_eq!(getsockopt(&socket, BufLocked), Ok(BOTH));
        assert_eq!((receive_size(&socket).unwrap(), send_size(&socket).unwrap()), sizes);
        keep_from_growing(&socket, false).unwrap();
        assert_eq!(getsockopt(&socket, BufLocked), Ok(0));
    }
}
