//! The protocol of a takeover: lines of JSON, some of which come with a file.
//!
//! A successor sends a [`Request`] with the file of its own `foreword_steer`, which proves that it may
//! load programs. It gets an [`Answer`], perhaps with the HTTP listener. Once it works, it says
//! [`SERVING`], and keeps the connection open. If that ends too early, the predecessor serves again.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::sys::scm_rights::receive;

/// What the successor says when it serves.
pub const SERVING: &str = "serving";
/// The longest line, enough for thousands of interfaces.
const MAX_LINE: usize = 64 << 10;

/// A successor's request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Request {
    /// The indices of all interfaces that it steers.
    pub interfaces: Vec<u32>,
    /// Where it wants to answer HTTP, if it can't listen there yet.
    pub listener: Option<SocketAddr>,
}

/// The predecessor's answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The locks are released.
    Released,
    /// They are not, and why.
    Refused(String),
}

/// A message as a line.
pub fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Receives lines, and the files that come with them.
#[derive(Debug, Default)]
pub struct LineReader {
    bytes: Vec<u8>,
    file: Option<OwnedFd>,
}

/// What a receive has brought.
#[derive(Debug)]
pub enum Received<T> {
    /// A message, and the file that came with it.
    Message(T, Option<OwnedFd>),
    /// A part of a line.
    Component,
    /// The end of the connection.
    End,
}

impl LineReader {
    /// Receives once. A line that is too long, or not a message, is an error.
    pub fn receive<T: DeserializeOwned>(&mut self, socket: impl AsFd) -> io::Result<Received<T>> {
        let mut bytes = [0; 4096];
        let (length, file) = receive(socket, &mut bytes)?;
        self.file = file.or(self.file.take());
        self.bytes.extend_from_slice(&bytes[..length]);
        if length == 0 {
            return Ok(Received::End);
        }
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            return if self.bytes.len() > MAX_LINE {
                Err(io::Error::other("a line that does not end"))
            } else {
                Ok(Received::Component)
            };
        };
        let line: Vec<_> = self.bytes.drain(..=end).collect();
        Ok(Received::Message(serde_json::from_slice(&line)?, self.file.take()))
    }
}
