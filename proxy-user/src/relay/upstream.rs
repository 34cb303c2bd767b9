//! Connects to a connection's upstream.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use proxy_common::Reason;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::address::{ClientAddr, OriginalDst, UpstreamAddr};
use crate::config::settings::{Source, Upstream, UpstreamAddress};
use crate::sys::netns::{Elsewhere, Namespace};
use crate::sys::socket;

/// Where a worker's upstream sockets come from.
#[derive(Debug)]
pub struct Departure {
    /// The mark of those that come from the host's namespace, if steering could meet them.
    mark: Option<u32>,
    /// Where a socket can have a client's address.
    clients: Elsewhere,
}

impl Departure {
    /// From the calling thread's namespace, or from `private` under a client's address.
    pub fn new(mark: Option<u32>, private: &Namespace) -> Result<Self> {
        let clients = Elsewhere::of(private).context("cannot keep hold of the namespaces")?;
        Ok(Self { mark, clients })
    }

    /// Connects to the first address that answers. All attempts together have the one connect
    /// time. Without a client (`None`), the node connects on its own behalf whatever the rule says.
    pub async fn connect(
        &self,
        upstream: &Upstream,
        destination: OriginalDst,
        client: Option<ClientAddr>,
    ) -> Result<(TcpStream, UpstreamAddr), Reason> {
        let original = [destination.as_upstream()];
        let addresses = match &upstream.address {
            UpstreamAddress::Original => &original[..],
            UpstreamAddress::Fixed { addresses, .. } => addresses,
        };
        let client = client.filter(|_| upstream.source == Source::Client);
        let attempts = async {
            let mut reason = Reason::UpstreamUnreachable;
            for &address in addresses {
                match self.connect_to(address, client).await {
                    Ok(stream) => return Ok((stream, address)),
                    Err(failed) => reason = failed,
                }
            }
            Err(reason)
        };
        timeout(upstream.connect_timeout, attempts).await.unwrap_or(Err(Reason::UpstreamTimeout))
    }

    async fn connect_to(
        &self,
        upstream: UpstreamAddr,
        client: Option<ClientAddr>,
    ) -> Result<TcpStream, Reason> {
        let connected = match client {
            None => self.connect_as_node(upstream).await,
            Some(client) if can_stand_for(client, upstream) => {
                self.connect_as_client(upstream, client).await
            }
            Some(_) => return Err(Reason::ClientAddress),
        };
        connected.map_err(|error| {
            tracing::debug!(%error, %upstream, "cannot connect");
            reason_for(&error)
        })
    }

    async fn connect_as_node(&self, upstream: UpstreamAddr) -> io::Result<TcpStream> {
        let socket = socket::upstream(upstream.get(), self.mark)?;
        TcpSocket::from_std_stream(socket.into()).connect(upstream.get()).await
    }

    /// From the client's own port, or from another one if that is taken.
    async fn connect_as_client(
        &self,
        upstream: UpstreamAddr,
        client: ClientAddr,
    ) -> io::Result<TcpStream> {
        let from = client.get();
        match self.connect_from(from, upstream).await {
            Err(error) if socket::is_port_taken(&error) => {
                self.connect_from(SocketAddr::new(from.ip(), 0), upstream).await
            }
            result => result,
        }
    }

    async fn connect_from(&self, from: SocketAddr, to: UpstreamAddr) -> io::Result<TcpStream> {
        let socket = self.clients.visit(|| socket::upstream_from(from, to.get()))?;
        TcpSocket::from_std_stream(socket.into()).connect(to.get()).await
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

fn reason_for(error: &io::Error) -> Reason {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Reason::UpstreamRefused,
        ErrorKind::TimedOut => Reason::UpstreamTimeout,
        _ => Reason::UpstreamUnreachable,
    }
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
