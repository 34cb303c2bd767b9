//! The two addresses that a header names, each a type of its own: taking one for the other is the
//! classic fault of a proxy.

use std::fmt;
use std::net::SocketAddr;

/// The IPv4 address inside an IPv4-mapped one; any other address as it is. Scope and flow label of an
/// IPv6 address are left out, since no header has them.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

macro_rules! address {
    ($(#[$doc:meta])+ $name:ident) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name(SocketAddr);

        impl $name {
            /// Takes an address in canonical form: an IPv4-mapped IPv6 address becomes IPv4.
            pub fn new(address: SocketAddr) -> Self {
                Self(canonical(address))
            }

            /// The address and its port.
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
    /// Where a connection really began: the header's source.
    ClientAddr
}
address! {
    /// What the client connected to, in front of all proxies: the header's destination.
    OriginalDst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_canonical() {
        let client = |text: &str| ClientAddr::new(text.parse().unwrap()).to_string();
        assert_eq!(client("[::ffff:10.1.2.3]:80"), "10.1.2.3:80");
        assert_eq!(client("[fe80::b%7]:80"), "[fe80::b]:80");
        assert_eq!(client("[2001:db8::1]:80"), "[2001:db8::1]:80");
    }
}
