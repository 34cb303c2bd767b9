//! A socket to an upstream.

use std::mem;
use std::net::TcpStream;
use std::ops::Deref;

use super::connection::ResetUnlessClosed;
use crate::address::UpstreamAddr;
use crate::relay::stream::Socket;
use crate::sys::socket;

/// A connection to one of the upstream's addresses, or an attempt to make one.
#[derive(Debug)]
pub(super) struct UpstreamSocket {
    socket: ResetUnlessClosed,
    /// Where it leads.
    pub(super) address: UpstreamAddr,
    is_nodelay: bool,
}

impl UpstreamSocket {
    pub(super) const fn new(stream: TcpStream, address: UpstreamAddr) -> Self {
        let socket = ResetUnlessClosed::new(Socket::new(stream));
        Self { socket, address, is_nodelay: false }
    }

    /// The first write is not the last: the next one may be small, and must not wait until the first is
    /// acknowledged. Many connections have only one, and are spared the call.
    pub(super) fn set_nodelay(&mut self) {
        if !mem::replace(&mut self.is_nodelay, true) {
            // A connection that has failed will say so by itself.
            let _ = socket::send_at_once(self.get());
        }
    }

    /// Has the kernel ask a silent upstream whether it is still there.
    pub(super) fn keep_alive(&self) {
        // A connection that has failed will say so by itself.
        let _ = socket::keep_alive(self.get());
    }
}

impl Deref for UpstreamSocket {
    type Target = ResetUnlessClosed;

    fn deref(&self) -> &ResetUnlessClosed {
        &self.socket
    }
}
