//! A worker's spare pipes. Opening one costs more than most connections; holding one for each
//! idle connection costs descriptors and memory. So a connection borrows one while it moves bulk.

use std::io;

use super::stream::Conduit;

/// Spare pipes that a worker keeps open; more are closed when they come back.
const SPARE: usize = 256;

/// The pool. Every pipe in it is empty.
#[derive(Debug)]
pub struct Pipes<P>(Vec<P>);

impl<P: Conduit> Pipes<P> {
    /// A pool without a pipe.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty pipe.
    pub fn take(&mut self) -> io::Result<P> {
        self.0.pop().map_or_else(P::open, Ok)
    }

    /// Takes back an empty pipe. One with bytes left in it must be dropped instead.
    pub fn put_back(&mut self, pipe: P) {
        if self.0.len() < SPARE {
            self.0.push(pipe);
        }
    }
}
