//! Streams that send as fast as they can.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{PATIENCE, dial};
use crate::wire::{Work, opening};

/// Bytes of one write.
const CHUNK: usize = 128 * 1024;

/// What went through.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// Payload bytes, all of which the server has counted.
    pub bytes: u64,
    /// From the first byte sent to the last one counted.
    pub elapsed: Duration,
}

/// Sends on `streams` connections for a while, then waits until the server has everything.
pub fn bulk(target: SocketAddrV4, streams: usize, duration: Duration) -> Result<Bulk> {
    let mut streams: Vec<Stream> =
        (0..streams).map(|_| Stream::open(target)).collect::<Result<_>>()?;
    let started = Instant::now();
    send_until(started + duration, &mut streams)?;
    for stream in &streams {
        stream.socket.shutdown(Shutdown::Write).context("cannot half-close")?;
    }
    let counted = streams.iter_mut().map(Stream::confirm).sum::<Result<u64>>()?;
    Ok(Bulk { bytes: counted, elapsed: started.elapsed() })
}

/// A connection, and how many bytes of payload it has taken.
struct Stream {
    socket: TcpStream,
    sent: u64,
}

impl Stream {
    fn open(target: SocketAddrV4) -> Result<Self> {
        let mut socket = dial::open(target)?;
        socket.write_all(&opening(target, Work::Sink, 1)).context("cannot send a header")?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, sent: 1 })
    }

    fn send(&mut self, chunk: &[u8]) -> Result<()> {
        match self.socket.write(chunk) {
            Ok(length) => self.sent += length as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => bail!("cannot send after {} bytes: {error}", self.sent),
        }
        Ok(())
    }

    /// The server's count, which has to be ours.
    fn confirm(&mut self) -> Result<u64> {
        self.socket.set_nonblocking(false)?;
        let mut count = [0; 8];
        self.socket
            .read_exact(&mut count)
            .with_context(|| format!("the server does not confirm {} bytes", self.sent))?;
        let count = u64::from_le_bytes(count);
        if count != self.sent {
            bail!("{} bytes were sent, and {count} arrived", self.sent);
        }
        Ok(count)
    }
}

fn send_until(deadline: Instant, streams: &mut [Stream]) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot make an epoll")?;
    for (index, stream) in streams.iter().enumerate() {
        let token = u64::try_from(index)?;
        epoll.add(stream.socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLOUT, token))?;
    }
    let chunk = vec![b'z'; CHUNK];
    let mut events = vec![EpollEvent::empty(); streams.len()];
    while Instant::now() < deadline {
        let count = epoll.wait(&mut events, EpollTimeout::try_from(PATIENCE)?)?;
        if count == 0 {
            bail!("nothing could be sent for {PATIENCE:?}");
        }
        for event in &events[..count] {
            streams[usize::try_from(event.data())?].send(&chunk)?;
        }
    }
    Ok(())
}
