//! One connection to the upstream: bytes out, bytes and an end back.
//!
//! Blocking, and bounded in time and memory whatever the upstream does.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::reply::{Reply, ReplyEnd};
use crate::address::{ClientAddr, UpstreamAddr};
use crate::header::Endpoints;

/// Most bytes of a reply that are read.
const MAX_REPLY: usize = 16 * 1024;

/// How long each wait may be.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection, and for a reply's first byte.
    pub first: Duration,
    /// For more of a reply.
    pub more: Duration,
}

/// The two ends of a connection that could be made.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// The upstream's address.
    pub upstream: UpstreamAddr,
    /// The address that it sees us by.
    pub source: ClientAddr,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source.get().ip();
        write!(f, "{} as seen from {source}, other sources may differ", self.upstream)
    }
}

/// Finds the first of an upstream's addresses that can be connected to. The connection is closed
/// at once.
pub fn reach(addresses: &[UpstreamAddr], timeout: Duration) -> io::Result<Path> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for &upstream in addresses {
        let stream = TcpStream::connect_timeout(&upstream.get(), timeout);
        match stream.and_then(|stream| stream.local_addr()) {
            Ok(source) => return Ok(Path { upstream, source: ClientAddr::new(source) }),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects, sends what `message` makes of the connection's own addresses, and collects the reply
/// until it ends or pauses. An error is one of connecting; whatever goes wrong later is a reply.
pub fn exchange(
    upstream: UpstreamAddr,
    timeouts: Timeouts,
    message: impl FnOnce(Endpoints) -> Vec<u8>,
) -> io::Result<Reply> {
    let stream = TcpStream::connect_timeout(&upstream.get(), timeouts.first)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(timeouts.first))?;
    let message = message(Endpoints::new(stream.local_addr()?, stream.peer_addr()?));
    // An upstream that closes while we write has still answered: the reads below tell.
    let _ = (&stream).write_all(&message);
    collect(&stream, timeouts)
}

fn collect(mut stream: &TcpStream, timeouts: Timeouts) -> io::Result<Reply> {
    let deadline = Instant::now() + timeouts.first + timeouts.first.max(timeouts.more);
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let end = loop {
        let wait = if bytes.is_empty() { timeouts.first } else { timeouts.more };
        let wait = wait.min(deadline.saturating_duration_since(Instant::now()));
        if wait.is_zero() || bytes.len() >= MAX_REPLY {
            break ReplyEnd::Open;
        }
        stream.set_read_timeout(Some(wait))?;
        match stream.read(&mut chunk) {
            Ok(0) => break ReplyEnd::Closed,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut => break ReplyEnd::Open,
                _ => break ReplyEnd::Reset,
            },
        }
    };
    Ok(Reply { bytes, end })
}
