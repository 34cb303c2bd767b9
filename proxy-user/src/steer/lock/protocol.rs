//! What successor and predecessor say to each other: lines of JSON, some of which bring a file.
//!
//! A successor asks ([`Request`]), with the file of its own `foreword_steer`, which nobody has who may
//! not load one. It gets an [`Answer`], perhaps with the listener for HTTP. When everything of its own
//! works, it says [`SERVING`], and keeps the connection for as long as it is there: whatever ends the
//! connection early, the predecessor serves again.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::sys::scm_rights::receive;

/// That the successor serves.
pub const SERVING: &str = "serving";
/// Longest line: some thousand interfaces.
const LONGEST: usize = 64 << 10;

/// What a successor asks for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Request {
    /// The indexes of all interfaces that it steers.
    pub interfaces: Vec<u32>,
    /// Where it wants to answer HTTP, if it can't listen there yet.
    pub listener: Option<SocketAddr>,
}

/// What it is told.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The locks are free.
    Released,
    /// They are not, for this reason.
    Refused(String),
}

/// As a line of its own.
pub fn line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// A line that is being received.
#[derive(Debug, Default)]
pub struct LineReader {
    bytes: Vec<u8>,
    file: Option<OwnedFd>,
}

/// What there is of it.
#[derive(Debug)]
pub enum Received<T> {
    /// All, and the file that came with it.
    Message(T, Option<OwnedFd>),
    /// A part.
    Component,
    /// Nothing more will come.
    End,
}

impl LineReader {
    /// Receives once. A line that is too long, or says nothing that we know, is an error.
    pub fn receive<T: DeserializeOwned>(&mut self, socket: impl AsFd) -> io::Result<Received<T>> {
        let mut bytes = [0; 4096];
        let (length, file) = receive(socket, &mut bytes)?;
        self.file = file.or(self.file.take());
        self.bytes.extend_from_slice(&bytes[..length]);
        if length == 0 {
            return Ok(Received::End);
        }
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            return if self.bytes.len() > LONGEST {
                Err(io::Error::other("a line that does not end"))
            } else {
                Ok(Received::Component)
            };
        };
        let line: Vec<_> = self.bytes.drain(..=end).collect();
        Ok(Received::Message(serde_json::from_slice(&line)?, self.file.take()))
    }
}
