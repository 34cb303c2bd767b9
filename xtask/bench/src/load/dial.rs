//! Opening connections.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

use super::PATIENCE;
use crate::wire::{MESSAGE, Work, opening};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(3);

/// Opens a connection, and waits for that. Reads and writes end after [`PATIENCE`].
pub fn open(target: SocketAddrV4) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target.into(), CONNECT)
        .with_context(|| format!("cannot connect to {target}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Begins to open a connection that never blocks.
pub fn begin(target: SocketAddrV4) -> Result<TcpStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)
        .context("cannot make a socket")?;
    match connect(socket.as_raw_fd(), &SockaddrIn::from(target)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => bail!("cannot connect to {target}: {error}"),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a connection to the echo and sends a first message there and back, so that all the way to
/// the server is open, too.
pub fn open_echo(target: SocketAddrV4) -> Result<TcpStream> {
    let mut stream = open(target)?;
    stream.write_all(&opening(target, Work::Echo, MESSAGE)).context("cannot send a header")?;
    let mut back = [0; MESSAGE];
    stream.read_exact(&mut back).context("the first message does not come back")?;
    Ok(stream)
}
