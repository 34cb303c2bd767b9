//! Holds back a client's first payload until it is known not to begin with a header that is refused: a
//! second one, or one by which an untrusted client, silent until the server has spoken, would pass for
//! another.
//!
//! The bytes are examined where they are, in the socket's buffer (`MSG_PEEK`), so nothing is taken out of
//! it and the upstream can speak meanwhile. Peeking stops at an urgent byte: if there is one among the
//! first bytes of what could be a header, nothing passes before the end of data.

use std::io::ErrorKind;

use proxy_common::Reason;

use super::stream::Socket;
use crate::header::SignatureMatch;
use crate::sys::socket;

/// How many bytes decide it: as many as the longer signature has.
const ENOUGH: usize = 12;

/// What a header is refused for, and how many bytes have been examined.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    reason: Reason,
    seen: usize,
}

impl Gate {
    /// A closed gate. A complete signature is refused for `reason`.
    pub const fn against(reason: Reason) -> Self {
        Self { reason, seen: 0 }
    }

    /// Examines the client's bytes. Whether they are payload and may pass; they could still become a
    /// header if not. Fails if they are one, or if the connection has failed.
    pub fn opens(&mut self, client: &Socket) -> Result<bool, Reason> {
        if !client.is_readable() {
            return Ok(false);
        }
        let mut bytes = [0; ENOUGH];
        match socket::peek(client.get(), &mut bytes) {
            // What has ended can no longer become a header.
            Ok(length) if length <= self.seen && client.has_ended() => return Ok(true),
            Ok(0) => return Ok(true),
            // These bytes are known already; wait for more.
            Ok(length) if length <= self.seen => {
                client.clear_readable();
                return Ok(false);
            }
            Ok(length) => self.seen = length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                client.clear_readable();
                return Ok(false);
            }
            Err(_) => return Err(Reason::ClientReset),
        }
        match SignatureMatch::of(&bytes[..self.seen]) {
            SignatureMatch::Complete(_) => Err(self.reason),
            SignatureMatch::Mismatch => Ok(true),
            SignatureMatch::Partial if client.has_ended() => Ok(true),
            SignatureMatch::Partial => {
                client.clear_readable();
                Ok(false)
            }
        }
    }
}
