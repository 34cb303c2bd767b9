//! Waiting for many sockets at once: epoll, edge-triggered.
//!
//! An edge is reported once: whoever is told that a socket is ready must use it until it says that
//! it no longer is, or remember that there may be more.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Events taken from the kernel at once.
const BATCH: usize = 256;

/// What is watched, and what is ready now.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

/// What a socket has become.
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the kernel's, by itself")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// As it was registered.
    pub token: u64,
    /// There is something to read, an end or an error included.
    pub readable: bool,
    /// Something can be written, if only to learn of an error.
    pub writable: bool,
    /// The peer will send no more, or the connection has failed: what is there is all.
    pub ended: bool,
    /// The connection has failed.
    pub failed: bool,
    /// An urgent byte is among what there is to read.
    pub urgent: bool,
}

impl Poller {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); BATCH] })
    }

    /// Watches a connection for edges of all kinds, until it is closed. What is true already is
    /// reported as well.
    pub fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        let kinds = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLPRI
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        Ok(self.epoll.add(socket, EpollEvent::new(kinds, token))?)
    }

    /// Watches a listener or a bell, which are reported as long as there is something.
    pub fn add_level(&self, source: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.epoll.add(source, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Watches a listener no longer.
    pub fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(source)?)
    }

    /// Takes events, waiting for some if `may_wait`. A signal ends the wait early.
    pub fn wait(&mut self, may_wait: bool) -> io::Result<usize> {
        let timeout = if may_wait { EpollTimeout::NONE } else { EpollTimeout::ZERO };
        match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => Ok(count),
            Err(nix::errno::Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// One of the events of the last wait.
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

/// Wakes a poller from another thread.
#[derive(Clone, Debug)]
pub struct Bell(Arc<EventFd>);

impl Bell {
    /// One that has not rung.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?)))
    }

    /// Rings it, until it is silenced.
    pub fn ring(&self) -> io::Result<()> {
        self.0.write(1)?;
        Ok(())
    }

    /// Silences it, however often it was rung.
    pub fn silence(&self) {
        // Fails if it is silent, and for no other reason.
        let _ = self.0.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}
