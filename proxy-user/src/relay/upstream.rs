//! Connects to a connection's upstream.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result};
use proxy_common::Reason;

use crate::address::{ClientAddr, OriginalDst, UpstreamAddr};
use crate::config::settings::{Source, Upstream, UpstreamAddress};
use crate::sys::netns::{Elsewhere, Namespace};
use crate::sys::socket::{self, Opener};

/// Where a worker's upstream sockets come from.
#[derive(Debug)]
pub struct Departure {
    /// The mark of those that come from the host's namespace, if steering could meet them.
    mark: Option<u32>,
    /// Where a socket can have a client's address.
    clients: Elsewhere,
}

/// The attempts to reach an upstream: each of its addresses, in order.
#[derive(Clone, Copy, Debug)]
pub struct Attempts<'a> {
    /// What the rule says of it.
    pub upstream: &'a Upstream,
    /// What the client aimed at.
    pub destination: OriginalDst,
    /// Whose connection it is; `None`: the node's own, whatever the rule says.
    pub client: Option<ClientAddr>,
    /// Whether there is something to write as soon as one has answered.
    pub speaks_first: bool,
}

impl Attempts<'_> {
    /// The address of attempt `number`; `None` when all have been tried.
    fn address(self, number: usize) -> Option<UpstreamAddr> {
        match &self.upstream.address {
            UpstreamAddress::Original => (number == 0).then(|| self.destination.as_upstream()),
            UpstreamAddress::Fixed { addresses, .. } => addresses.get(number).copied(),
        }
    }

    fn opener(self) -> Opener {
        match (self.speaks_first, self.upstream.fast_open) {
            (false, _) => Opener::Silence,
            (true, false) => Opener::Bytes,
            (true, true) => Opener::BytesAtOnce,
        }
    }
}

impl Departure {
    /// From the calling thread's namespace, or from `private` under a client's address.
    pub fn new(mark: Option<u32>, private: &Namespace) -> Result<Self> {
        let clients = Elsewhere::of(private).context("cannot keep hold of the namespaces")?;
        Ok(Self { mark, clients })
    }

    /// Begins attempt `number` to connect, or says why it has failed at once; `None`: there are no
    /// so many. The connection is under way then; the first thing done with it says whether it came
    /// about.
    pub fn connect(
        &self,
        attempts: Attempts<'_>,
        number: usize,
    ) -> Option<Result<(TcpStream, UpstreamAddr), Reason>> {
        let address = attempts.address(number)?;
        Some(self.connect_to(address, attempts).map(|stream| (stream, address)))
    }

    fn connect_to(
        &self,
        upstream: UpstreamAddr,
        attempts: Attempts<'_>,
    ) -> Result<TcpStream, Reason> {
        let opener = attempts.opener();
        let client = attempts.client.filter(|_| attempts.upstream.source == Source::Client);
        let connected = match client {
            None => {
                let made = socket::upstream(upstream.get(), self.mark, opener);
                made.and_then(|socket| socket::connect(socket, upstream.get()))
            }
            Some(client) if can_stand_for(client, upstream) => {
                self.connect_as(client, upstream, opener)
            }
            Some(_) => return Err(Reason::ClientAddress),
        };
        connected.map_err(|error| reason_for(&error))
    }

    /// From the client's own port, or from another one if that is taken.
    fn connect_as(
        &self,
        client: ClientAddr,
        upstream: UpstreamAddr,
        opener: Opener,
    ) -> io::Result<TcpStream> {
        let to = upstream.get();
        let connect_from = |from| {
            let made = self.clients.visit(|| socket::upstream_from(from, to, opener));
            made.and_then(|socket| socket::connect(socket, to))
        };
        match connect_from(client.get()) {
            Err(error) if socket::is_port_taken(&error) => {
                connect_from(SocketAddr::new(client.get().ip(), 0))
            }
            result => result,
        }
    }
}

/// Why an upstream can't be reached.
pub fn reason_for(error: &io::Error) -> Reason {
    tracing::debug!(%error, "cannot connect");
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Reason::UpstreamRefused,
        ErrorKind::TimedOut => Reason::UpstreamTimeout,
        _ => Reason::UpstreamUnreachable,
    }
}

/// Whether packets to the upstream can have the client's address. A header can state any address;
/// some are no host's, and one of this host's loopback is never answered.
fn can_stand_for(client: ClientAddr, upstream: UpstreamAddr) -> bool {
    let (client, upstream) = (client.get(), upstream.get());
    let ip = client.ip();
    client.is_ipv4() == upstream.is_ipv4()
        && !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_of_the_same_family_can_be_stood_for() {
        let can = |client: &str, upstream: &str| {
            let client = ClientAddr::new(client.parse().unwrap());
            can_stand_for(client, UpstreamAddr::new(upstream.parse().unwrap()))
        };
        assert!(can("192.0.2.1:5", "10.0.0.1:80"));
        assert!(can("[2001:db8::1]:5", "[fd00::1]:80"));
        assert!(can("[::ffff:192.0.2.1]:5", "10.0.0.1:80"));
        for client in ["[2001:db8::1]:5", "127.0.0.1:5", "0.0.0.0:5", "224.0.0.1:5"] {
            assert!(!can(client, "10.0.0.1:80"), "{client}");
        }
        assert!(!can("192.0.2.1:5", "[fd00::1]:80"));
    }
}
