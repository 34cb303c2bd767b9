//! Tools for people to look at PROXY headers, away from traffic.
//!
//! [`decoded`] explains bytes; [`probe`] finds out what an upstream makes of a header.
//! Both stand on the same [`header`](crate::header) engine as the relay, so that they can't
//! disagree with it. Everything here is pure except [`probe::exchange`], which connects. What
//! others have sent is printed escaped or in hex, never as it is.

pub mod decoded;
pub mod dump;
pub mod hex;
pub mod probe;
