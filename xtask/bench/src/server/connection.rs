//! One connection at the server: its opening, then the work that it asks for.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use crate::wire::{REQUEST, RESPONSE, Work, read_opening};

/// What an opening and small messages are read with at most.
const SMALL: usize = 16 * 1024;

/// A connection that was accepted.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The header, and the first byte of the payload, are not yet all there.
    Opening(Vec<u8>),
    /// Counts bytes.
    Sink { received: u64 },
    /// Waits for the rest of a request.
    Request { received: usize },
    /// Sends back.
    Echo,
}

/// What is to become of a connection.
#[derive(Debug)]
pub enum Next {
    /// There is more to come.
    Wait,
    /// It has ended.
    Close,
    /// Close it, for a reason that fails the measure.
    Complain(String),
}

impl Connection {
    /// One that has said nothing yet.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, state: State::Opening(Vec::new()) }
    }

    /// Reads once, and does what there is to do.
    pub fn readable(&mut self, buffer: &mut [u8]) -> Next {
        let length = match self.read(buffer) {
            Ok(0) => return self.ended(),
            Ok(length) => length,
            Err(ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Next::Wait,
            // A client that gives up, such as at a measure's end.
            Err(_) => return Next::Close,
        };
        if let State::Sink { received } = &mut self.state {
            *received += length as u64;
            return Next::Wait;
        }
        let bytes = &buffer[..length];
        let State::Opening(seen) = &mut self.state else { return self.work(bytes) };
        seen.extend_from_slice(bytes);
        match read_opening(seen) {
            Ok(None) => Next::Wait,
            Ok(Some((work, start))) => {
                let payload = seen.split_off(start);
                self.begin(work);
                self.work(&payload)
            }
            Err(what) => Next::Complain(what),
        }
    }

    /// The bytes of a sink are dropped in the kernel.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        if matches!(self.state, State::Sink { .. }) {
            let received = recv(self.stream.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC);
            return received.map_err(|errno: Errno| std::io::Error::from(errno).kind());
        }
        self.stream.read(&mut buffer[..SMALL]).map_err(|error| error.kind())
    }

    fn begin(&mut self, work: Work) {
        self.state = match work {
            Work::Sink => State::Sink { received: 0 },
            Work::Respond => State::Request { received: 0 },
            Work::Echo => State::Echo,
        };
    }

    fn work(&mut self, bytes: &[u8]) -> Next {
        match &mut self.state {
            State::Opening(_) => Next::Wait,
            State::Sink { received } => {
                *received += bytes.len() as u64;
                Next::Wait
            }
            State::Request { received } => {
                *received += bytes.len();
                match (*received).cmp(&REQUEST) {
                    std::cmp::Ordering::Less => Next::Wait,
                    std::cmp::Ordering::Equal => self.send(&[b'y'; RESPONSE], Next::Close),
                    std::cmp::Ordering::Greater => {
                        Next::Complain(format!("a request has {received} bytes, not {REQUEST}"))
                    }
                }
            }
            State::Echo => self.send(bytes, Next::Wait),
        }
    }

    /// What is sent fits any socket's buffer; where it does not, something is wrong.
    fn send(&mut self, bytes: &[u8], next: Next) -> Next {
        match self.stream.write(bytes) {
            Ok(sent) if sent == bytes.len() => next,
            Ok(sent) => Next::Complain(format!("{sent} of {} bytes could be sent", bytes.len())),
            Err(_) => Next::Close,
        }
    }

    fn ended(&mut self) -> Next {
        match &self.state {
            State::Sink { received } => {
                let count = received.to_le_bytes();
                self.send(&count, Next::Close)
            }
            State::Opening(seen) if !seen.is_empty() => {
                Next::Complain(format!("a connection ended after {} bytes", seen.len()))
            }
            State::Request { received } if *received < REQUEST => {
                Next::Complain(format!("a request ended after {received} bytes"))
            }
            _ => Next::Close,
        }
    }
}
