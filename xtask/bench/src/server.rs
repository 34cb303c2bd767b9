//! The server behind every contender: one thread, level-triggered epoll, no work but what
//! [`wire`](super::wire) names.
//!
//! It judges each connection's header. What it has to complain of fails the measure, whatever the
//! client saw.

mod connection;

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use nix::sys::socket::{setsockopt, sockopt};

use super::cpu;
use connection::{Connection, Next};

/// How many connections are accepted before the others get their turn.
const BATCH: usize = 64;

/// Events of one wait.
const EVENTS: usize = 256;

/// Bytes that one read may take. Those of a [`Sink`](super::wire::Work::Sink) are never copied.
const READ: usize = 1 << 20;

/// The token that asks for an end; descriptors are smaller.
const STOP: u64 = u64::MAX;

/// Set in the tokens of listeners.
const LISTENER: u64 = 1 << 32;

/// A running server. Dropping it ends it, and closes what is open.
#[derive(Debug)]
pub struct Server {
    stop: Arc<EventFd>,
    complaint: Complaint,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves what arrives at `listeners`, in whatever namespace they were made, on one CPU.
    pub fn start(listeners: Vec<TcpListener>, cpu: usize) -> Result<Self> {
        let stop = Arc::new(EventFd::new().context("cannot make an eventfd")?);
        let complaint = Complaint::default();
        let mut service = Service::new(listeners, complaint.clone(), &stop)?;
        let noticed = complaint.clone();
        let thread = thread::spawn(move || {
            if let Err(error) = cpu::pin_thread(cpu).and_then(|()| service.run()) {
                noticed.note(&format!("the server has ended: {error:#}"));
            }
        });
        Ok(Self { stop, complaint, thread: Some(thread) })
    }

    /// The first complaint since the last time that it was asked for.
    pub fn take_complaint(&self) -> Option<String> {
        self.complaint.take()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The first thing that was wrong.
#[derive(Clone, Debug, Default)]
struct Complaint(Arc<Mutex<Option<String>>>);

impl Complaint {
    fn note(&self, text: &str) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert_with(|| text.to_owned());
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What the thread works with.
struct Service {
    epoll: Epoll,
    listeners: Vec<TcpListener>,
    /// By descriptor.
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    complaint: Complaint,
}

impl Service {
    fn new(listeners: Vec<TcpListener>, complaint: Complaint, stop: &EventFd) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot make an epoll")?;
        epoll.add(stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        for (index, listener) in listeners.iter().enumerate() {
            listener.set_nonblocking(true)?;
            // Accepted connections inherit it.
            setsockopt(listener, sockopt::TcpNoDelay, &true)?;
            let token = LISTENER | u64::try_from(index)?;
            epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        }
        let connections = Vec::new();
        Ok(Self { epoll, listeners, connections, buffer: vec![0; READ], complaint })
    }

    fn run(&mut self) -> Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                count => count?,
            };
            for event in &events[..count] {
                match event.data() {
                    STOP => return Ok(()),
                    token if token & LISTENER != 0 => self.accept(token ^ LISTENER)?,
                    token => self.serve(usize::try_from(token)?),
                }
            }
        }
    }

    fn accept(&mut self, listener: u64) -> Result<()> {
        let listener = &self.listeners[usize::try_from(listener)?];
        for _ in 0..BATCH {
            // What made accept fail will make it fail again, or is gone with its client.
            let Ok((stream, _)) = listener.accept() else { break };
            let slot = watch(&self.epoll, &stream)?;
            if slot >= self.connections.len() {
                self.connections.resize_with(slot + 1, || None);
            }
            self.connections[slot] = Some(Connection::new(stream));
        }
        Ok(())
    }

    fn serve(&mut self, slot: usize) {
        let Some(connection) = &mut self.connections[slot] else { return };
        match connection.readable(&mut self.buffer) {
            Next::Wait => return,
            Next::Close => {}
            Next::Complain(what) => self.complaint.note(&what),
        }
        self.connections[slot] = None;
    }
}

/// Waits for something to read; the token is the descriptor.
fn watch(epoll: &Epoll, stream: &TcpStream) -> Result<usize> {
    stream.set_nonblocking(true)?;
    let descriptor = usize::try_from(stream.as_raw_fd())?;
    let token = u64::try_from(descriptor)?;
    epoll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token))?;
    Ok(descriptor)
}
