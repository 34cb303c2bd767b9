//! Short connections: a request, a response, and the server closes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{PATIENCE, dial};
use crate::wire::{REQUEST, RESPONSE, Work, opening};

/// What was done.
#[derive(Clone, Copy, Debug)]
pub struct Short {
    /// Connections from beginning to end, each with a whole response.
    pub connections: u64,
    /// From the first one's beginning to the last one's end.
    pub elapsed: Duration,
}

/// Keeps `concurrency` connections going for a while, then waits for the last ones.
pub fn short(target: SocketAddrV4, concurrency: usize, duration: Duration) -> Result<Short> {
    let mut load = Load {
        epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot make an epoll")?,
        target,
        request: opening(target, Work::Respond, REQUEST),
        exchanges: Vec::new(),
    };
    let started = Instant::now();
    let deadline = started + duration;
    for slot in 0..concurrency {
        let exchange = load.begin(slot)?;
        load.exchanges.push(Some(exchange));
    }
    let connections = load.run(deadline)?;
    Ok(Short { connections, elapsed: started.elapsed() })
}

struct Load {
    epoll: Epoll,
    target: SocketAddrV4,
    request: Vec<u8>,
    exchanges: Vec<Option<Exchange>>,
}

impl Load {
    /// Opens a connection and sends the request, at once if it is open already.
    fn begin(&self, slot: usize) -> Result<Exchange> {
        let stream = dial::begin(self.target)?;
        let mut exchange = Exchange { stream, asked: false, received: 0 };
        exchange.ask(&self.request)?;
        let event = EpollEvent::new(exchange.interest(), u64::try_from(slot)?);
        self.epoll.add(exchange.stream.as_fd(), event)?;
        Ok(exchange)
    }

    /// How many connections came to their end.
    fn run(&mut self, deadline: Instant) -> Result<u64> {
        let mut events = vec![EpollEvent::empty(); self.exchanges.len()];
        let mut buffer = [0; 2 * RESPONSE];
        let (mut live, mut done) = (self.exchanges.len(), 0);
        while live > 0 {
            let count = self.epoll.wait(&mut events, EpollTimeout::try_from(PATIENCE)?)?;
            if count == 0 {
                bail!("{live} of the connections hang; {done} did not");
            }
            for event in &events[..count] {
                if !self.advance(usize::try_from(event.data())?, &mut buffer)? {
                    continue;
                }
                done += 1;
                let slot = usize::try_from(event.data())?;
                // The old one is closed first.
                self.exchanges[slot] = None;
                if Instant::now() < deadline {
                    self.exchanges[slot] = Some(self.begin(slot)?);
                } else {
                    live -= 1;
                }
            }
        }
        Ok(done)
    }

    /// Whether the exchange has ended as it should.
    fn advance(&mut self, slot: usize, buffer: &mut [u8]) -> Result<bool> {
        let Some(exchange) = &mut self.exchanges[slot] else { return Ok(false) };
        if exchange.asked {
            return exchange.receive(buffer);
        }
        exchange.ask(&self.request)?;
        if exchange.asked {
            let mut event = EpollEvent::new(exchange.interest(), u64::try_from(slot)?);
            self.epoll.modify(exchange.stream.as_fd(), &mut event)?;
        }
        Ok(false)
    }
}

/// One connection.
struct Exchange {
    stream: TcpStream,
    asked: bool,
    received: usize,
}

impl Exchange {
    fn interest(&self) -> EpollFlags {
        if self.asked { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLOUT }
    }

    fn ask(&mut self, request: &[u8]) -> Result<()> {
        match self.stream.write(request) {
            Ok(length) if length == request.len() => self.asked = true,
            Ok(length) => bail!("only {length} bytes of a request could be sent"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => bail!("cannot send a request: {error}"),
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match self.stream.read(buffer) {
            Ok(0) if self.received == RESPONSE => Ok(true),
            Ok(0) => bail!("a response ended after {} of {RESPONSE} bytes", self.received),
            Ok(length) => {
                self.received += length;
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => bail!("a response broke after {} bytes: {error}", self.received),
        }
    }
}
