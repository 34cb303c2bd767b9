//! The two set-ups. Each contender has namespaces of its own, so that its firewall rules and eBPF
//! programs don't affect the others.

mod plain;
mod transparent;

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

use anyhow::{Context, Result};
use netlab::{Lab, Netns};

use super::plan::{Contender, Setup};

/// Where the contenders' clients connect to.
const SERVICE: u16 = 9000;

/// Where the server listens for connections that do not pass a proxy.
const SERVER: u16 = 9001;

/// One contender's network.
#[derive(Debug)]
pub enum Network {
    /// Everything on `lo`.
    Plain(Netns),
    /// Client, node and backend.
    Transparent(Lab),
}

/// What a contender has to be told of its network.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The interface that connections arrive at.
    pub interface: &'static str,
    /// The client's address.
    pub client: Ipv4Addr,
    /// Where clients connect to.
    pub service: SocketAddrV4,
    /// Where the server is to be reached from the proxy.
    pub upstream: SocketAddrV4,
    /// Where the server is to be reached past the proxy.
    pub past: SocketAddrV4,
}

impl Network {
    /// Makes the namespaces, with what the set-up has for every contender.
    pub fn new(setup: Setup, contender: Contender) -> Result<Self> {
        Ok(match setup {
            Setup::Plain => Self::Plain(plain::make(contender)?),
            Setup::Transparent => Self::Transparent(transparent::make()?),
        })
    }

    /// Where the client is.
    pub fn client(&self) -> &Netns {
        match self {
            Self::Plain(netns) => netns,
            Self::Transparent(lab) => &lab.client,
        }
    }

    /// Where the contender is.
    pub fn node(&self) -> &Netns {
        match self {
            Self::Plain(netns) => netns,
            Self::Transparent(lab) => &lab.node,
        }
    }

    /// The addresses.
    pub fn place(&self) -> Place {
        match self {
            Self::Plain(_) => plain::PLACE,
            Self::Transparent(_) => transparent::PLACE,
        }
    }

    /// The server's sockets, one for each port that it is asked for at.
    pub fn listeners(&self) -> Result<Vec<TcpListener>> {
        let place = self.place();
        let (netns, addresses) = match self {
            Self::Plain(netns) => (netns, vec![place.past]),
            Self::Transparent(lab) => (&lab.backend, vec![place.past, place.upstream]),
        };
        let listen = |address: &SocketAddrV4| {
            TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))
        };
        netns.run(|| addresses.iter().map(listen).collect())
    }

    /// Brings a contender's connections to it, and tells the commands that did.
    pub fn divert_to(&self, contender: Contender) -> Result<Vec<String>> {
        match self {
            Self::Plain(_) => Ok(Vec::new()),
            Self::Transparent(lab) => transparent::divert(&lab.node, contender),
        }
    }

    /// What was done to the network for everybody, in words.
    pub fn describe(setup: Setup) -> String {
        match setup {
            Setup::Plain => plain::DESCRIPTION.to_owned(),
            Setup::Transparent => transparent::description(),
        }
    }
}

/// A namespace's name, which tells whose it is.
fn name(setup: Setup, contender: Contender) -> String {
    format!("bench{}-{setup:?}-{contender:?}", std::process::id()).to_lowercase()
}
