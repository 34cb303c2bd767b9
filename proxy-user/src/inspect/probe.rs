//! Whether an upstream reads PROXY headers, as far as that can be seen from outside.
//!
//! A few connections ask the same question without a header, behind one, and behind a malformed
//! one; the answers are compared, and nothing is claimed that they don't show. In particular, a
//! server that answers all three alike may read headers leniently or not at all.
//!
//! | module | concern |
//! |---|---|
//! | [`message`] | what is sent |
//! | [`hello`] | … when it is TLS |
//! | [`exchange`] | one connection: the only I/O |
//! | [`reply`] | what came back, and whether two of them are alike |
//! | [`plan`] | which connections, in which order |
//! | [`verdict`] | what follows from them |

pub mod exchange;
pub mod hello;
pub mod message;
pub mod plan;
pub mod reply;
pub mod verdict;
