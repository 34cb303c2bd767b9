//! The rules, as the programs know them: by port and destination, with the ranges that are trusted.
//!
//! What the maps are to say is made from the settings alone ([`tables`]); what differs from what
//! they say is written in an order in which no packet sees half of a rule, and taken back if a write
//! fails ([`writer`]). The maps are the kernel's ([`kernel`]) or, in tests, [`memory`].

mod kernel;
#[cfg(test)]
mod memory;
mod tables;
mod writer;

pub use self::kernel::KernelMaps;
pub use self::writer::Writer;
