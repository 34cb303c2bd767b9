//! How other threads talk to a worker. A worker reads its mailbox between two rounds of events, so
//! nothing that belongs to a connection is ever locked.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use super::open_connection::OpenConnection;
use super::rules::ActiveRule;
use crate::sys::poll::Waker;

/// Something for a worker to do.
#[derive(Debug)]
pub enum Message {
    /// Use these rules for new connections, and confirm it.
    Apply(Vec<Arc<ActiveRule>>, Sender<()>),
    /// Report the connections that are open.
    ListConnections(Sender<Vec<OpenConnection>>),
    /// Reset the connections that are left, and stop.
    Stop,
}

/// A worker's mailbox. Messages are handled in the order in which they were sent.
#[derive(Clone, Debug)]
pub struct Mailbox {
    waker: Waker,
    messages: Arc<Mutex<Vec<Message>>>,
    is_pinged: Arc<AtomicBool>,
}

impl Mailbox {
    /// An empty mailbox.
    pub fn new() -> io::Result<Self> {
        Ok(Self { waker: Waker::new()?, messages: Arc::default(), is_pinged: Arc::default() })
    }

    /// Sends a message.
    pub fn send(&self, message: Message) -> io::Result<()> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        self.waker.wake()
    }

    /// Asks the worker for a sign of life: it answers by reading its mailbox.
    pub fn ping(&self) -> io::Result<()> {
        self.is_pinged.store(true, Ordering::Relaxed);
        self.waker.wake()
    }

    /// Whether a ping is still unanswered.
    pub fn is_pinged(&self) -> bool {
        self.is_pinged.load(Ordering::Relaxed)
    }

    /// Takes all messages out, which also answers a [`Mailbox::ping`].
    pub fn receive(&self) -> Vec<Message> {
        // Cleared first: a message that arrives from now on wakes the worker again.
        self.waker.clear();
        self.is_pinged.store(false, Ordering::Relaxed);
        mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }
}
