//! Carries connections from our listeners to their upstreams: judge the source, read the header,
//! connect, write the header, move the bytes, close.
//!
//! One thread per worker, with its own listeners, its own pipes, its own clock and its own
//! counters; nothing on a connection's path is shared between workers. A session owns both sockets
//! and tells its story from accept to close; a worker tells it when to go on. Nothing but a worker
//! ever waits. How a connection came to a listener is not known here.

mod addresses;
mod admission;
mod buffers;
mod clock;
mod connecting;
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
mod pipes;
mod pods;
mod resources;
mod rule_stats;
mod session;
mod stream;
pub mod tally;
mod transfer;
mod unique_id;
mod wheel;
mod work;
mod worker;
mod workers;

pub use admission::Ceilings;
pub use buffers::UNCOUNTED;
pub use health::{Health, is_upstreams};
pub use heartbeat::Stalled;
pub use open_connection::{OpenConnection, Stage};
pub use pods::Pods;
pub use rule_stats::RuleCounts;
pub use tally::Counts;
pub use workers::Workers;
