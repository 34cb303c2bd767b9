//! Addresses by what they mean.
//!
//! Four endpoints meet in one connection, and taking one for another is the classic fault of a
//! proxy. Each is a type of its own here; a bare `SocketAddr` is passed around nowhere else.
//! All of them are canonical: an IPv4-mapped IPv6 address is held as IPv4, so that it meets the
//! rules written for IPv4.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

pub use proxy_header::{ClientAddr, OriginalDst};

/// The IPv4 address inside an IPv4-mapped one; any other address as it is, without a scope: what was
/// accepted has that of the private namespace, where an interface's number means nothing to others.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Canonical as well, but a link-local address keeps its scope, which is one of this host's interfaces.
fn canonical_with_scope(address: SocketAddr) -> SocketAddr {
    match (canonical(address), address) {
        (SocketAddr::V6(mut canonical), SocketAddr::V6(address)) => {
            canonical.set_scope_id(address.scope_id());
            canonical.into()
        }
        (canonical, _) => canonical,
    }
}

macro_rules! address {
    ($(#[$doc:meta])+ $name:ident) => {
        address! { $(#[$doc])+ $name, canonical }
    };
    ($(#[$doc:meta])+ $name:ident, $canonical:ident) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(SocketAddr);

        impl $name {
            /// Takes an address for what the type says, in canonical form.
            pub fn new(address: SocketAddr) -> Self {
                Self($canonical(address))
            }

            /// The address, for a system call or an encoder.
            pub const fn get(self) -> SocketAddr {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

address! {
    /// The other end of the accepted connection: a load balancer, or the client itself.
    PeerAddr
}
address! {
    /// What we connect to.
    UpstreamAddr, canonical_with_scope
}
address! {
    /// Where we serve metrics and probes.
    AdminAddr
}

impl PeerAddr {
    /// The peer's address without its port.
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }

    /// The peer taken for the client: there is nobody in front of it, or nobody we believe.
    pub fn as_client(self) -> ClientAddr {
        ClientAddr::new(self.0)
    }
}

impl From<OriginalDst> for UpstreamAddr {
    /// The original destination taken for the upstream.
    fn from(destination: OriginalDst) -> Self {
        Self(destination.get())
    }
}

/// The ends of the link into the private namespace, the node's and the inner one. They mean nothing
/// anywhere else.
pub const PRIVATE_LINK: [Ipv4Addr; 2] =
    [Ipv4Addr::new(169, 254, 77, 1), Ipv4Addr::new(169, 254, 77, 2)];

/// Whether packets can come from it: a header can state any address, and some are no host's, or
/// no other host's. The kernel would take a few of them for a wish to choose one itself, so that
/// the upstream saw this node instead.
pub fn can_be_a_source(client: ClientAddr) -> bool {
    match client.get().ip() {
        IpAddr::V4(ip) => {
            // 0.0.0.0/8 is "this host", and there is no way back to it.
            let is_this_host = ip.octets()[0] == 0;
            let is_somebody = !(is_this_host || ip.is_multicast() || ip.is_broadcast());
            is_somebody && !ip.is_loopback() && !PRIVATE_LINK.contains(&ip)
        }
        // Which link a link-local address is on, no header can say.
        IpAddr::V6(ip) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_unicast_link_local())
        }
    }
}

/// An address of this node's that connections to upstreams are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceAddr(IpAddr);

impl SourceAddr {
    /// Takes an address for one, in canonical form.
    pub const fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The address, for a system call.
    pub const fn get(self) -> IpAddr {
        self.0
    }

    /// Whether connections to this upstream can be made from it.
    pub const fn suits(self, upstream: UpstreamAddr) -> bool {
        self.0.is_ipv4() == upstream.0.is_ipv4()
    }
}

impl fmt::Display for SourceAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A range of addresses, such as `10.0.0.0/24`; a bare address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(IpNet);

impl Cidr {
    /// Whether the address lies in the range. IPv4-mapped addresses meet IPv4 ranges.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// The range's first address.
    pub fn address(self) -> IpAddr {
        self.0.network()
    }

    /// How many bits of it all addresses of the range share.
    pub fn prefix_length(self) -> u8 {
        self.0.prefix_len()
    }
}

/// How many leading bits of an IPv6 address tell one client from another, where clients are counted:
/// somebody who has one address mostly has a whole network of them. IPv4 addresses are told apart
/// by all their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Prefix(u8);

impl Ipv6Prefix {
    /// From 1 to 128 bits.
    pub fn new(length: u8) -> Option<Self> {
        (1..=128).contains(&length).then_some(Self(length))
    }

    /// How many bits they are.
    pub const fn length(self) -> u8 {
        self.0
    }

    /// What an address is counted as: itself, or the first address of its network.
    pub fn client(self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let mask = u128::MAX << (128 - u32::from(self.0));
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        }
    }
}

impl Default for Ipv6Prefix {
    fn default() -> Self {
        Self(64)
    }
}

/// An address as the maps have it: IPv4 as IPv4-mapped IPv6, in network byte order.
pub fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Most ranges that are named one by one.
const NAMED: usize = 8;

/// Ranges in words: the first ones, and how many more there are.
pub fn list(ranges: &[Cidr]) -> String {
    some(ranges, NAMED)
}

/// The first so many of some things, and how many more there are.
pub fn some<T: ToString>(all: &[T], shown: usize) -> String {
    // One more is as long as the words that it would be replaced by.
    let shown = if all.len() == shown + 1 { all.len() } else { shown.min(all.len()) };
    let mut words: Vec<_> = all[..shown].iter().map(ToString::to_string).collect();
    match all.len() - shown {
        0 => {}
        more => words.push(format!("and {more} more")),
    }
    words.join(", ")
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no [`Cidr`]; the message names the text and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not an address with a prefix length at all.
    #[error("'{0}' is no address range; write it as 10.0.0.0/24 or fd00:10::/64")]
    Syntax(String),
    /// Bits are set behind the prefix, so that one of the two is a mistake.
    #[error(
        "'{text}' has bits set behind its prefix; write {network} for the range, or {address} for the one address"
    )]
    HostBits {
        /// What was written.
        text: String,
        /// The range with those bits cleared.
        network: IpNet,
        /// The address with the full prefix.
        address: IpAddr,
    },
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(IpNet::from(address.to_canonical())));
        }
        let net: IpNet = text.parse().map_err(|_| CidrError::Syntax(text.to_owned()))?;
        if net.trunc() == net {
            Ok(Self(net))
        } else {
            Err(CidrError::HostBits {
                text: text.to_owned(),
                network: net.trunc(),
                address: net.addr(),
            })
        }
    }
}

#[cfg(test)]
mod tests;
