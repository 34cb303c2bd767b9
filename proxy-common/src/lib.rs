//! What the kernel side and the user side of Foreword must agree on.
//!
//! Everything here is plain data and constants: the layout of map entries ([`abi`]), the maps
//! ([`maps`]) and how many entries they have room for ([`capacity`]), the names of programs and
//! devices ([`names`]), and the reasons for which a connection or a packet is refused ([`reason`]).
//! Nothing here does I/O or allocates.
#![no_std]
#![warn(unreachable_pub)]

pub mod abi;
pub mod capacity;
pub mod maps;
pub mod names;
pub mod reason;

pub use reason::Reason;
