//! Connects to upstreams.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result};
use proxy_common::Reason;

use super::addresses::Candidates;
use super::health::is_upstream_fault;
use crate::address::{ClientAddr, SourceAddr, UpstreamAddr, can_be_a_source};
use crate::config::settings::{Source, Upstream};
use crate::sys::netns::{Namespace, NamespaceSwitch};
use crate::sys::socket::{self, ConnectMode};

/// Makes a worker's connections to upstreams.
#[derive(Debug)]
pub struct Dialer {
    /// The mark of sockets in the host's namespace, if steering could see their packets.
    mark: Option<u32>,
    /// The namespace in which a socket can have a client's address.
    clients: NamespaceSwitch,
    /// Which of a rule's source addresses comes first next time.
    next_source: Cell<usize>,
}

/// Where to connect to and from: each of the upstream's addresses, in order, and for each of them our
/// own addresses in turn, as long as no local port is free.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// What the rule says about the upstream.
    pub upstream: &'a Upstream,
    /// The upstream's addresses.
    pub candidates: &'a Candidates,
    /// The client; `None`: the connection is the node's own, whatever the rule says.
    pub client: Option<ClientAddr>,
    /// Whether there is something to write as soon as the upstream has answered.
    pub speaks_first: bool,
}

/// Which of the [`Targets`] is next: the numbers of the upstream's address and of ours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    address: usize,
    source: usize,
    /// The number of our address that came first.
    first: usize,
    /// How many addresses of ours there are.
    sources: usize,
    /// Our address does not exist.
    is_absent: bool,
}

impl Cursor {
    /// The target after this one, which has failed for this reason. Another address of ours has other
    /// ports.
    pub fn next(self, failed: Reason) -> Self {
        let source = self.source + 1;
        let is_ours = failed == Reason::NoLocalPort || self.is_absent;
        let next = Self { is_absent: false, ..self };
        if is_ours && source < self.sources {
            return Self { source, ..next };
        }
        next.next_address()
    }

    /// The first target with the upstream's next address.
    pub fn next_address(self) -> Self {
        Self { address: self.address + 1, source: 0, is_absent: false, ..self }
    }

    /// The upstream's address; `None`: all have been tried.
    pub fn address_of(self, candidates: &Candidates) -> Option<UpstreamAddr> {
        candidates.get(self.address)
    }
}

impl Targets<'_> {
    /// Our addresses for connections to this address.
    fn sources(&self, upstream: UpstreamAddr) -> impl Iterator<Item = SourceAddr> {
        self.upstream.source_addresses.iter().copied().filter(move |own| own.suits(upstream))
    }

    fn mode(self) -> ConnectMode {
        match (self.speaks_first, self.upstream.fast_open) {
            (false, _) => ConnectMode::Plain,
            // In a race, the first packet must not carry what another address may get as well.
            (true, true) if !self.candidates.are_several() => ConnectMode::FastOpen,
            (true, _) => ConnectMode::DelayAck,
        }
    }
}

impl Dialer {
    /// Connects from the calling thread's namespace, or, with a client's address, from `private`.
    pub fn new(mark: Option<u32>, private: &Namespace) -> Result<Self> {
        let clients = NamespaceSwitch::to(private).context("cannot keep hold of the namespaces")?;
        Ok(Self { mark, clients, next_source: Cell::new(0) })
    }

    /// Begins to connect to the target at the cursor, or says why that has failed at once; `None`: there are
    /// no more targets. Whether the connection is established shows when it is first used.
    pub fn connect(
        &self,
        targets: Targets<'_>,
        cursor: &mut Cursor,
    ) -> Option<Result<(TcpStream, UpstreamAddr), Failed>> {
        let address = cursor.address_of(targets.candidates)?;
        let connected = self.connect_to(address, targets, cursor);
        Some(connected.map(|stream| (stream, address)))
    }

    fn connect_to(
        &self,
        upstream: UpstreamAddr,
        targets: Targets<'_>,
        cursor: &mut Cursor,
    ) -> Result<TcpStream, Failed> {
        let mode = targets.mode();
        let client = targets.client.filter(|_| targets.upstream.source == Source::Client);
        let connected = match client {
            None => return self.connect_as_node(upstream, targets, cursor),
            Some(client) if can_impersonate(client, upstream) => {
                self.connect_as(client, upstream, mode)
            }
            Some(_) => return Err(Failed::ours(Reason::ClientAddress)),
        };
        connected.map_err(|error| Failed::to_reach(upstream, &error))
    }

    /// Connects from the source address whose turn it is, or from the one that the kernel chooses.
    fn connect_as_node(
        &self,
        upstream: UpstreamAddr,
        targets: Targets<'_>,
        cursor: &mut Cursor,
    ) -> Result<TcpStream, Failed> {
        let (to, mode) = (upstream.get(), targets.mode());
        cursor.sources = targets.sources(upstream).count();
        if cursor.sources == 0 {
            let socket = socket::upstream(to, self.mark, mode);
            let connected = socket.and_then(|socket| socket::connect(socket, to));
            return connected.map_err(|error| match Failed::to_reach(upstream, &error) {
                // There is no local address at all, which is not a lack of ports.
                Failed { reason: Reason::NoLocalPort, .. } if !socket::has_source(to) => {
                    Failed::ours(Reason::UpstreamUnreachable)
                }
                failed => failed,
            });
        }
        if cursor.source == 0 {
            cursor.first = self.next_source.replace(self.next_source.get().wrapping_add(1));
        }
        let number = cursor.first.wrapping_add(cursor.source) % cursor.sources;
        let from = targets.sources(upstream).nth(number);
        let from = from.ok_or(Failed::ours(Reason::Internal))?;
        let socket = socket::upstream_at(from.get(), to, self.mark, mode).map_err(|error| {
            // The address is not this node's, or not any more.
            tracing::debug!(%error, %from, "cannot connect from there");
            cursor.is_absent = true;
            Failed::ours(Reason::UpstreamUnreachable)
        })?;
        socket::connect(socket, to).map_err(|error| Failed::to_reach(upstream, &error))
    }

    /// Connects from the client's address and port, or from another port if that one is taken.
    fn connect_as(
        &self,
        client: ClientAddr,
        upstream: UpstreamAddr,
        mode: ConnectMode,
    ) -> io::Result<TcpStream> {
        let to = upstream.get();
        let connect_from = |from| {
            let socket = self.clients.run(|| socket::upstream_from(from, to, mode));
            socket.and_then(|socket| socket::connect(socket, to))
        };
        match connect_from(client.get()) {
            Err(error) if socket::is_port_taken(&error) => {
                connect_from(SocketAddr::new(client.get().ip(), 0))
            }
            result => result,
        }
    }
}

/// Why an attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The reason.
    pub reason: Reason,
    /// The upstream's address, if it is to blame.
    pub blamed: Option<UpstreamAddr>,
}

impl Failed {
    /// The address could not be reached, for this reason.
    pub fn to_reach(address: UpstreamAddr, error: &io::Error) -> Self {
        Self { reason: reason_for(error), blamed: is_upstream_fault(error).then_some(address) }
    }

    const fn ours(reason: Reason) -> Self {
        Self { reason, blamed: None }
    }
}

/// The reason for an error of connecting.
fn reason_for(error: &io::Error) -> Reason {
    tracing::debug!(%error, "cannot connect");
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Reason::UpstreamRefused,
        ErrorKind::TimedOut => Reason::UpstreamTimeout,
        ErrorKind::AddrNotAvailable => Reason::NoLocalPort,
        _ => Reason::UpstreamUnreachable,
    }
}

/// Whether packets to the upstream can have the client's source address.
fn can_impersonate(client: ClientAddr, upstream: UpstreamAddr) -> bool {
    client.get().is_ipv4() == upstream.get().is_ipv4() && can_be_a_source(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_source_address_is_tried_only_when_ports_have_run_out() {
        let begin = Cursor { sources: 2, first: 5, ..Cursor::default() };
        let number = |cursor: Cursor| (cursor.address, cursor.source);
        assert_eq!(number(begin.next(Reason::NoLocalPort)), (0, 1));
        assert_eq!(number(begin.next(Reason::NoLocalPort).next(Reason::NoLocalPort)), (1, 0));
        assert_eq!(number(begin.next(Reason::UpstreamRefused)), (1, 0));
        assert_eq!(number(Cursor::default().next(Reason::NoLocalPort)), (1, 0));
        let absent = Cursor { is_absent: true, ..begin };
        assert_eq!(number(absent.next(Reason::UpstreamUnreachable)), (0, 1));
    }

    #[test]
    fn only_a_host_of_the_same_family_can_be_impersonated() {
        let can = |client: &str, upstream: &str| {
            let client = ClientAddr::new(client.parse().unwrap());
            can_impersonate(client, UpstreamAddr::new(upstream.parse().unwrap()))
        };
        assert!(can("192.0.2.1:5", "10.0.0.1:80"));
        assert!(can("[2001:db8::1]:5", "[fd00::1]:80"));
        assert!(can("[::ffff:192.0.2.1]:5", "10.0.0.1:80"));
        for client in ["[2001:db8::1]:5", "127.0.0.1:5", "255.255.255.255:5"] {
            assert!(!can(client, "10.0.0.1:80"), "{client}");
        }
        assert!(!can("192.0.2.1:5", "[fd00::1]:80"));
    }
}
