//! Small messages there and back, one at a time on each connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{PATIENCE, dial};
use crate::stats::Latencies;
use crate::wire::MESSAGE;

/// Events of one wait.
const EVENTS: usize = 256;

/// What came back.
#[derive(Debug)]
pub struct PingPong {
    /// One for each round trip.
    pub latencies: Latencies,
    /// How long all of them took together.
    pub elapsed: Duration,
}

/// Keeps a message going on each of `connections` connections for a while.
pub fn ping_pong(target: SocketAddrV4, connections: usize, duration: Duration) -> Result<PingPong> {
    let mut streams: Vec<TcpStream> =
        (0..connections).map(|_| dial::open_echo(target)).collect::<Result<_>>()?;
    let started = Instant::now();
    let deadline = started + duration;
    let latencies = match &mut streams[..] {
        [stream] => one(stream, deadline)?,
        _ => many(streams, deadline)?,
    };
    Ok(PingPong { latencies, elapsed: started.elapsed() })
}

/// Without epoll: nothing is measured but write and read.
fn one(stream: &mut TcpStream, deadline: Instant) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut message = [b'p'; MESSAGE];
    let mut sent = Instant::now();
    while sent < deadline {
        stream.write_all(&message).context("cannot send a message")?;
        stream.read_exact(&mut message).context("a message does not come back")?;
        let received = Instant::now();
        latencies.add(received - sent);
        sent = received;
    }
    Ok(latencies)
}

/// A connection whose message is on its way.
struct Player {
    stream: TcpStream,
    sent: Instant,
    received: usize,
}

impl Player {
    fn serve(&mut self) -> Result<()> {
        self.sent = Instant::now();
        self.received = 0;
        match self.stream.write(&[b'p'; MESSAGE]) {
            Ok(MESSAGE) => Ok(()),
            Ok(length) => bail!("only {length} bytes of a message could be sent"),
            Err(error) => bail!("cannot send a message: {error}"),
        }
    }

    /// How long the message took, once all of it is back.
    fn receive(&mut self) -> Result<Option<Duration>> {
        let mut buffer = [0; 2 * MESSAGE];
        match self.stream.read(&mut buffer) {
            Ok(0) => bail!("a connection was closed in the middle"),
            Ok(length) => self.received += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => bail!("a message does not come back: {error}"),
        }
        match self.received {
            MESSAGE => Ok(Some(self.sent.elapsed())),
            0..MESSAGE => Ok(None),
            more => bail!("{more} bytes came back of {MESSAGE}"),
        }
    }
}

fn many(streams: Vec<TcpStream>, deadline: Instant) -> Result<Latencies> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot make an epoll")?;
    let mut players = Vec::new();
    for stream in streams {
        stream.set_nonblocking(true)?;
        let token = u64::try_from(players.len())?;
        epoll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        players.push(Player { stream, sent: deadline, received: 0 });
    }
    players.iter_mut().try_for_each(Player::serve)?;

    let mut latencies = Latencies::default();
    let mut events = [EpollEvent::empty(); EVENTS];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::try_from(PATIENCE)?)?;
        if count == 0 {
            bail!("no message has come back for {PATIENCE:?}");
        }
        for event in &events[..count] {
            let player = &mut players[usize::try_from(event.data())?];
            if let Some(latency) = player.receive()? {
                latencies.add(latency);
                player.serve()?;
            }
        }
        if Instant::now() >= deadline {
            return Ok(latencies);
        }
    }
}
