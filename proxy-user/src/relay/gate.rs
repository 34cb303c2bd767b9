//! Holds back a client's first payload until it is known not to be a second header.
//!
//! The bytes are looked at where they are, in the socket, so nothing is taken out of it, and the
//! upstream can speak meanwhile. No look passes an urgent byte: where one is among the first of what
//! could be a header, nothing is released before the end.

use std::io::ErrorKind;

use super::stream::Socket;
use crate::header::Beginning;
use crate::sys::socket;

/// As many bytes as decide it: the longer signature's.
const ENOUGH: usize = 12;

/// How many bytes have been looked at.
#[derive(Debug, Default)]
pub struct Gate {
    seen: usize,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It could still become a header.
    Closed,
    /// It is payload.
    Open,
    /// It is a header.
    Header,
    /// The connection has failed.
    Failed,
}

impl Gate {
    /// Looks at what is there.
    pub fn look(&mut self, client: &Socket) -> Look {
        if !client.may_have_more() {
            return Look::Closed;
        }
        let mut bytes = [0; ENOUGH];
        match socket::peek(client.get(), &mut bytes) {
            // What has ended can no longer become a header.
            Ok(length) if length <= self.seen && client.has_ended() => return Look::Open,
            Ok(0) => return Look::Open,
            // The bytes that were seen already are no news: wait for more.
            Ok(length) if length <= self.seen => {
                client.await_more();
                return Look::Closed;
            }
            Ok(length) => self.seen = length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                client.await_more();
                return Look::Closed;
            }
            Err(_) => return Look::Failed,
        }
        match Beginning::of(&bytes[..self.seen]) {
            Beginning::Header(_) => Look::Header,
            Beginning::Other => Look::Open,
            Beginning::Open if client.has_ended() => Look::Open,
            Beginning::Open => {
                client.await_more();
                Look::Closed
            }
        }
    }
}
