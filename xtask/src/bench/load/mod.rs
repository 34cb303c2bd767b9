//! The clients: one thread inside the client's namespace, as cheap as possible, so that what is
//! measured is the way to the server.
//!
//! Every connection begins with a header, and what comes back is checked to the byte. A load that
//! meets any error fails as a whole.

mod bulk;
mod dial;
mod idle;
mod ping_pong;
mod short;

pub use bulk::bulk;
pub use idle::idle;
pub use ping_pong::ping_pong;
pub use short::short;

use std::time::Duration;

/// How long anything may take that is not meant to take long.
pub const PATIENCE: Duration = Duration::from_secs(10);
