//! Where connections go, and what the name of an upstream may stand for.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::ValueEnum;
use schemars::JsonSchema;

use crate::address::{SourceAddr, UpstreamAddr};

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The address.
    pub address: UpstreamAddress,
    /// When its name is looked up again.
    pub resolve: Resolve,
    /// Whose address it sees.
    pub source: Source,
    /// What connections are made from, in turn, where one is of the upstream's family; else the kernel
    /// chooses.
    pub source_addresses: Vec<SourceAddr>,
    /// What becomes of new connections while it can't be reached.
    pub when_down: WhenDown,
    /// By when it must have answered.
    pub connect_timeout: Duration,
    /// Whether what is written first may leave with the first packet (TCP Fast Open).
    pub fast_open: bool,
}

/// Whose address an upstream sees as its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Source {
    /// This node's
    Node,
    /// The client's
    Client,
}

/// When an upstream's name is looked up, besides the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolve {
    /// When the configuration is read again.
    Once,
    /// And so long after the last time; never 0.
    Every(Duration),
}

/// What becomes of new connections while an upstream can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum WhenDown {
    /// Their first packets are answered with a reset, as without Foreword, so that a health check that
    /// only connects fails
    Refuse,
    /// They are accepted, and reset when the upstream has been tried
    Accept,
}

/// The address that connections go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// The one that the client aimed at.
    Original,
    /// One that was written as such.
    Fixed(UpstreamAddr),
    /// Those that a name has, which are looked up and change.
    Named(UpstreamName),
}

impl fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original => f.write_str("the original destination"),
            Self::Fixed(address) => address.fmt(f),
            Self::Named(name) => name.fmt(f),
        }
    }
}

/// What has to be looked up: a host's name, or a link-local IPv6 address with the interface that it is
/// on, whose number is the host's; and a port above 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamName {
    host: String,
    port: u16,
}

impl UpstreamName {
    pub(in crate::config) const fn new(host: String, port: u16) -> Self {
        Self { host, port }
    }

    /// The name, or the address and the interface: `fe80::b%eth1`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Why connections can't go to an address, or to what a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is none.
    #[error("the name has no address")]
    Nowhere,
    /// It names no one server.
    #[error("{0} can't be connected to; write one server's address, and a port above 0")]
    NoServer(SocketAddr),
    /// It exists on every link, and the interface isn't named.
    #[error(
        "{0} is a link-local address; write the interface that it is on, such as [{0}%eth0]:80"
    )]
    NoScope(IpAddr),
    /// Packets from a client's address never get there.
    #[error("write an address of the node's: a client's address never gets to {0}")]
    NotFromClients(&'static str),
}

impl Upstream {
    /// Validates addresses: one that was written, or those that were found for a name. Duplicates are
    /// removed, and the order is kept.
    pub fn judge(&self, found: &[SocketAddr]) -> Result<Vec<UpstreamAddr>, Unfit> {
        let mut addresses = Vec::with_capacity(found.len());
        for address in found {
            self.judge_one(*address)?;
            let address = UpstreamAddr::new(*address);
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(Unfit::Nowhere) } else { Ok(addresses) }
    }

    fn judge_one(&self, address: SocketAddr) -> Result<(), Unfit> {
        let ip = address.ip().to_canonical();
        if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
            return Err(Unfit::NoServer(address));
        }
        let is_link_local = is_link_local(ip);
        if is_link_local && matches!(address, SocketAddr::V6(address) if address.scope_id() == 0) {
            return Err(Unfit::NoScope(ip));
        }
        match self.source {
            Source::Client if ip.is_loopback() => Err(Unfit::NotFromClients("loopback")),
            Source::Client if is_link_local => Err(Unfit::NotFromClients("a link-local one")),
            Source::Client | Source::Node => Ok(()),
        }
    }
}

/// Whether an address means another host on each link.
pub(in crate::config) fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures;

    fn judge(source: Source, found: &[&str]) -> Result<Vec<String>, Unfit> {
        let upstream = Upstream { source, ..fixtures::upstream() };
        let found: Vec<_> = found.iter().map(|address| address.parse().unwrap()).collect();
        let judged = upstream.judge(&found)?;
        Ok(judged.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_address_of_a_name_is_kept_once_in_its_order() {
        let found = ["[fd00::1]:80", "10.0.0.2:80", "[fd00::1]:80", "[::ffff:10.0.0.2]:80"];
        let kept = ["[fd00::1]:80", "10.0.0.2:80"].map(str::to_owned);
        assert_eq!(judge(Source::Node, &found), Ok(kept.to_vec()));
        let scoped = ["[fe80::b%7]:80"];
        assert_eq!(judge(Source::Node, &scoped), Ok(vec![scoped[0].to_owned()]));
    }

    #[test]
    fn a_name_that_stands_for_no_server_is_unfit() {
        assert_eq!(judge(Source::Node, &[]), Err(Unfit::Nowhere));
        for address in ["0.0.0.0:80", "[::]:80", "224.0.0.1:80", "[ff02::1]:80", "10.0.0.1:0"] {
            let unfit = judge(Source::Node, &["10.0.0.9:80", address]);
            assert!(matches!(unfit, Err(Unfit::NoServer(_))), "{address}: {unfit:?}");
        }
        assert!(matches!(judge(Source::Node, &["[fe80::b]:80"]), Err(Unfit::NoScope(_))));
    }

    #[test]
    fn a_clients_address_gets_neither_to_loopback_nor_to_one_link() {
        for address in ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "[fe80::b%7]:80"] {
            let unfit = judge(Source::Client, &[address]);
            assert!(matches!(unfit, Err(Unfit::NotFromClients(_))), "{address}: {unfit:?}");
            assert!(judge(Source::Node, &[address]).is_ok(), "{address}");
        }
    }

    #[test]
    fn a_name_is_written_as_it_was_read() {
        let name = |host: &str| UpstreamName::new(host.to_owned(), 80).to_string();
        assert_eq!(name("app.example"), "app.example:80");
        assert_eq!(name("fe80::b%eth1"), "[fe80::b%eth1]:80");
    }
}
