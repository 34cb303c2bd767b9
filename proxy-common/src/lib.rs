//! What the kernel side and the user side of Foreword must agree on.
//!
//! Everything here is plain data and constants: the layout of map entries ([`abi`]), how many of
//! them fit ([`capacity`]), the names of programs, maps and kernel objects ([`names`]), and the one
//! list of ways to refuse a connection or a packet ([`reason`]). Nothing here does I/O, allocates, or knows either aya.
#![no_std]

pub mod abi;
pub mod capacity;
pub mod names;
pub mod reason;

pub use reason::Reason;
