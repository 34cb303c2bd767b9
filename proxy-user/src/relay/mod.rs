//! Carries connections from our listeners to their upstreams: judge the source, read the header,
//! connect, write the header, move the bytes, close.
//!
//! One thread per worker, with its own listeners, its own pipes and its own counters; nothing on
//! a connection's path is shared between workers. A session is one task that owns both sockets
//! and tells its story from accept to close in one function. How a connection came to a listener
//! is not known here.

mod flow;
mod gate;
mod log;
mod pipes;
mod preamble;
mod session;
pub mod tally;
mod transfer;
mod unique_id;
mod upstream;
mod worker;

pub use tally::{Counts, Tally};
pub use worker::Workers;
