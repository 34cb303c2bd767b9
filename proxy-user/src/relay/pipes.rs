//! A worker's pool of pipes. Opening a pipe costs more than most connections, and one for each idle
//! connection would cost descriptors and memory. So a flow takes one while it moves bulk data.

use std::io;

use super::stream::PipeLike;

/// How many pipes a worker keeps open; more are closed when they are put back.
const SPARE: usize = 256;

/// The pool. Every pipe in it is empty.
#[derive(Debug)]
pub struct Pipes<P>(Vec<P>);

impl<P: PipeLike> Pipes<P> {
    /// An empty pool.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty pipe.
    pub fn take(&mut self) -> io::Result<P> {
        self.0.pop().map_or_else(P::open, Ok)
    }

    /// Puts back an empty pipe. A pipe with bytes left in it must be dropped instead.
    pub fn put_back(&mut self, pipe: P) {
        if self.0.len() < SPARE {
            self.0.push(pipe);
        }
    }
}
