//! The smallest client: connects from a chosen address, sends bytes, reads the answer.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result};
use netlab::Netns;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// How long connecting, and each silence of the server, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a connection ended, and what came before.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// The server's bytes, up to the end of its stream. Empty: it said nothing.
    Bytes(Vec<u8>),
    /// The error that reading ended with.
    Error(String),
}

impl Reply {
    /// The server's bytes as text, if they came with an orderly end.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Self::Error(_) => None,
        }
    }

    /// What a person is told of it.
    pub fn shown(&self) -> String {
        match self {
            Self::Bytes(bytes) if bytes.is_empty() => "(closed without a word)".to_owned(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Error(error) => format!("({error})"),
        }
    }
}

/// Connects inside a namespace.
pub fn dial(netns: &Netns, source: Option<IpAddr>, target: SocketAddr) -> Result<TcpStream> {
    netns.run(|| dial_here(source, target)).with_context(|| format!("cannot connect to {target}"))
}

fn dial_here(source: Option<IpAddr>, target: SocketAddr) -> Result<TcpStream> {
    let family = if target.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = TimeVal::new(PATIENCE.as_secs().try_into()?, 0);
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    if let Some(source) = source {
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    }
    connect(socket.as_raw_fd(), &SockaddrStorage::from(target))?;
    Ok(socket.into())
}

/// Sends `request`, and reads until the server ends its stream.
pub fn exchange(mut stream: TcpStream, request: &[u8]) -> Reply {
    let mut bytes = Vec::new();
    match stream.write_all(request).and_then(|()| stream.read_to_end(&mut bytes)) {
        Ok(_) => Reply::Bytes(bytes),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Reply::Error(format!("silent for {} s", PATIENCE.as_secs()))
        }
        Err(error) => Reply::Error(error.to_string()),
    }
}
