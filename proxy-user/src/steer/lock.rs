//! The right to steer an interface.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use anyhow::{Context as _, Result, bail};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::interface::NetworkInterface;

/// An abstract socket, of which the kernel allows one of a name in a network namespace, and which
/// ends with its process.
#[derive(Debug)]
pub struct InterfaceLock {
    _socket: UnixListener,
}

impl InterfaceLock {
    /// Takes it, or says who has it.
    pub fn take(interface: &NetworkInterface) -> Result<Self> {
        let address = address(interface.index())?;
        match UnixListener::bind_addr(&address) {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let holder = holder(&address).map_or(String::new(), |pid| format!(" (pid {pid})"));
                bail!(
                    "{interface} is already steered by another Foreword{holder}; stop that one first"
                );
            }
            Err(error) => Err(error).with_context(|| format!("cannot lock {interface}")),
        }
    }

    /// Takes it if nobody has it.
    pub fn try_take(index: u32) -> Option<Self> {
        let socket = UnixListener::bind_addr(&address(index).ok()?).ok()?;
        Some(Self { _socket: socket })
    }
}

fn address(index: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("foreword/{index}"))
}

/// The process that listens on the socket.
fn holder(address: &SocketAddr) -> Option<i32> {
    let stream = UnixStream::connect_addr(address).ok()?;
    Some(getsockopt(&stream, PeerCredentials).ok()?.pid())
}
