//! What a worker is told by others, and when: it looks into its mailbox between two rounds, so that
//! nothing of a connection is ever locked.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use super::ledger::Served;
use super::live::Live;
use crate::sys::poll::Bell;

/// Something to do.
#[derive(Debug)]
pub enum Order {
    /// Serve new connections by these rules, and say so.
    Serve(Vec<Arc<Served>>, Sender<()>),
    /// Say which connections are open.
    List(Sender<Vec<Live>>),
    /// Reset the connections that are left, and end.
    Stop,
}

/// A worker's mailbox. Orders are carried out in the order in which they were given.
#[derive(Clone, Debug)]
pub struct Mailbox {
    bell: Bell,
    orders: Arc<Mutex<Vec<Order>>>,
    is_asked: Arc<AtomicBool>,
}

impl Mailbox {
    /// An empty one.
    pub fn new() -> io::Result<Self> {
        Ok(Self { bell: Bell::new()?, orders: Arc::default(), is_asked: Arc::default() })
    }

    /// Gives an order.
    pub fn give(&self, order: Order) -> io::Result<()> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        self.bell.ring()
    }

    /// Asks whether the worker comes round.
    pub fn ask(&self) -> io::Result<()> {
        self.is_asked.store(true, Ordering::Relaxed);
        self.bell.ring()
    }

    /// Whether it has not done so since.
    pub fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    /// Takes all orders that are there, which is the answer to [`Mailbox::ask`] as well.
    pub fn take(&self) -> Vec<Order> {
        // Silenced first: an order that comes now rings again.
        self.bell.silence();
        self.is_asked.store(false, Ordering::Relaxed);
        mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
