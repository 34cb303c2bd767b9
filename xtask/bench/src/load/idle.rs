//! Connections that are open and say nothing.

use std::net::{SocketAddrV4, TcpStream};

use anyhow::{Context, Result};

use super::dial;

/// Opens connections one after the other, each with one message there and back.
pub fn idle(target: SocketAddrV4, connections: usize) -> Result<Vec<TcpStream>> {
    let open = |number| {
        dial::open_echo(target).with_context(|| format!("connection {number} of {connections}"))
    };
    (0..connections).map(open).collect()
}
