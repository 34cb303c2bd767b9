//! Carries connections from our listeners to their upstreams: judges the source, reads the header,
//! connects, writes the header, moves the bytes, closes.
//!
//! One thread per worker, with its own listeners, pipes, clock and counters: nothing on a connection's path
//! is shared between workers. A [`session`] owns the sockets of a connection from accept to close, and its
//! [`worker`] calls it when it can go on. Only workers ever wait. How a connection gets to a listener is
//! not known here.

mod addresses;
mod admission;
mod buffers;
mod clock;
mod dialer;
mod flow;
mod gate;
mod header_reader;
mod health;
mod heartbeat;
mod log;
mod mailbox;
#[cfg(test)]
mod model;
mod open_connection;
mod outbound;
mod pipes;
mod pods;
mod progress;
mod record;
mod resources;
mod rule_stats;
mod rules;
mod session;
mod step_budget;
mod stream;
pub mod tally;
mod token;
mod transfer;
mod unique_id;
mod wheel;
mod worker;
mod workers;

pub use admission::Ceilings;
pub use buffers::UNCOUNTED;
pub use health::{Health, is_upstream_fault};
pub use heartbeat::Stalled;
pub use open_connection::{OpenConnection, Stage};
pub use pods::Pods;
pub use rule_stats::RuleCounts;
pub use tally::Counts;
pub use workers::Workers;
