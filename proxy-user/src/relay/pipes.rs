//! A worker's spare pipes. Opening one costs more than most connections; holding one for each
//! idle connection costs descriptors and memory. So a connection borrows one while it moves bulk.

use std::cell::RefCell;
use std::io;

use crate::sys::pipe::Pipe;

/// Spare pipes that a worker keeps open; more are closed when they come back.
const SPARE: usize = 256;

/// The pool. Every pipe in it is empty.
#[derive(Debug, Default)]
pub struct Pipes(RefCell<Vec<Pipe>>);

impl Pipes {
    /// An empty pipe.
    pub fn take(&self) -> io::Result<Pipe> {
        match self.0.borrow_mut().pop() {
            Some(pipe) => Ok(pipe),
            None => Pipe::open(),
        }
    }

    /// Takes back an empty pipe. One with bytes left in it must be dropped instead.
    pub fn put_back(&self, pipe: Pipe) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < SPARE {
            spare.push(pipe);
        }
    }
}
