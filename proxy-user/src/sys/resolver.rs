//! Looks up names as every program on this host does (`getaddrinfo`): in `/etc/hosts`, DNS, and
//! whatever else `nsswitch.conf` lists, in the calling thread's network namespace.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs as _};

use nix::net::if_::if_nametoindex;

/// Finds the addresses of a host, or the scope of a link-local address such as `fe80::1%eth0`. It
/// returns when the resolver does, which may be never.
pub fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host.split_once('%') {
        Some((address, interface)) => {
            let address = address.parse::<Ipv6Addr>().map_err(io::Error::other)?;
            let scope = index_of(interface)?;
            Ok(vec![SocketAddrV6::new(address, port, 0, scope).into()])
        }
        None => Ok((host, port).to_socket_addrs()?.collect()),
    }
}

/// An interface's index, from its name or from the index itself.
fn index_of(interface: &str) -> io::Result<u32> {
    let none = || io::Error::other(format!("there is no interface {interface}"));
    if_nametoindex(interface).or_else(|_| interface.parse().map_err(|_| none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_that_of_the_interface() {
        let scope = |host: &str| {
            let found = look_up(host, 80).map_err(|error| error.to_string())?;
            Ok::<_, String>(found.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(scope("fe80::1%lo"), Ok(vec!["[fe80::1%1]:80".to_owned()]));
        assert_eq!(scope("fe80::1%7"), Ok(vec!["[fe80::1%7]:80".to_owned()]));
        assert_eq!(scope("fe80::1%nic9"), Err("there is no interface nic9".to_owned()));
    }
}
