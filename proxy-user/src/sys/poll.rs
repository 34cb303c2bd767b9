//! Waiting for many sockets at once: epoll, edge-triggered.
//!
//! An edge is reported once. A caller that learns that a socket is ready must use it until it says
//! `WouldBlock`, or remember that there may be more.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// How many events are taken from the kernel at once.
const BATCH: usize = 256;

/// An epoll instance, and the events of the last wait.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

/// What has happened to a socket.
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the kernel's")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The token that it was registered with.
    pub token: u64,
    /// There is something to read: bytes, the end of data or an error.
    pub readable: bool,
    /// Something can be written, if only to learn about an error.
    pub writable: bool,
    /// The peer will send no more, or the connection has failed.
    pub ended: bool,
    /// The connection has failed.
    pub failed: bool,
    /// An urgent byte is among what there is to read.
    pub urgent: bool,
}

impl Poller {
    /// Makes one that watches nothing.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); BATCH] })
    }

    /// Watches a connection for edges of all kinds until it is closed. What is true already is
    /// reported, too.
    pub fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        let kinds = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLPRI
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        Ok(self.epoll.add(socket, EpollEvent::new(kinds, token))?)
    }

    /// Watches a listener, a waker or a timer, level-triggered: it is reported as long as it is ready.
    pub fn add_level(&self, source: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(source, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Stops watching a listener.
    pub fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(source)?)
    }

    /// Takes events, waiting for some if `may_wait`; returns how many. A signal ends the wait early.
    pub fn wait(&mut self, may_wait: bool) -> io::Result<usize> {
        let timeout = if may_wait { EpollTimeout::NONE } else { EpollTimeout::ZERO };
        match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => Ok(count),
            Err(nix::errno::Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// One of the events of the last wait, by number.
    pub fn event(&self, number: usize) -> Event {
        let flags = self.events[number].events();
        let broken = flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        Event {
            token: self.events[number].data(),
            readable: broken || flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP),
            writable: broken || flags.contains(EpollFlags::EPOLLOUT),
            ended: broken || flags.contains(EpollFlags::EPOLLRDHUP),
            failed: flags.contains(EpollFlags::EPOLLERR),
            urgent: flags.contains(EpollFlags::EPOLLPRI),
        }
    }
}

/// Wakes a poller from another thread (`eventfd`).
#[derive(Clone, Debug)]
pub struct Waker(Arc<EventFd>);

impl Waker {
    /// Makes one that has not been woken.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?)))
    }

    /// Makes it ready, until it is [cleared](Self::clear).
    pub fn wake(&self) -> io::Result<()> {
        self.0.write(1)?;
        Ok(())
    }

    /// Makes it unready, however often it was woken.
    pub fn clear(&self) {
        // Fails only if it is not ready.
        let _ = self.0.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
