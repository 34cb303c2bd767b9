//! How a run is seen from outside: the admin socket and HTTP, what it reports there, and what the
//! doctor makes of a node.

pub mod admin;
pub mod doctor;
pub mod report;
