//! Holds back a client's first payload until it is known not to begin with a header that is refused:
//! a second one, or one by which an untrusted client, silent until the server has spoken, would pass
//! for another.
//!
//! The bytes are looked at where they are, in the socket, so nothing is taken out of it, and the
//! upstream can speak meanwhile. No look passes an urgent byte: where one is among the first of what
//! could be a header, nothing is released before the end.

use std::io::ErrorKind;

use proxy_common::Reason;

use super::stream::Socket;
use crate::header::SignatureMatch;
use crate::sys::socket;

/// As many bytes as decide it: the longer signature's.
const ENOUGH: usize = 12;

/// What a header is refused for, and how many bytes have been looked at.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    reason: Reason,
    seen: usize,
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It could still become a header.
    Closed,
    /// It is payload.
    Open,
    /// It is a header, refused for this reason.
    Header(Reason),
    /// The connection has failed.
    Failed,
}

impl Gate {
    /// Nothing seen yet. A complete signature is refused for `reason`.
    pub const fn against(reason: Reason) -> Self {
        Self { reason, seen: 0 }
    }

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
        match SignatureMatch::of(&bytes[..self.seen]) {
            SignatureMatch::Complete(_) => Look::Header(self.reason),
            SignatureMatch::Mismatch => Look::Open,
            SignatureMatch::Partial if client.has_ended() => Look::Open,
            SignatureMatch::Partial => {
                client.await_more();
                Look::Closed
            }
        }
    }
}
