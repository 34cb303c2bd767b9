//! The part of the developer commands that other crates use: the network lab.

pub mod lab;
