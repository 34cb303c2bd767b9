//! Reports as text and tables for a terminal.

pub mod connections;
pub mod cutover;
pub mod doctor;
pub mod leftover;
pub mod status;
mod table;
pub mod watch;
