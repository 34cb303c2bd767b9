//! A SYN-ACK that was dropped because it had bypassed steering.

use std::net::{Ipv6Addr, SocketAddr};

use proxy_common::abi::{self, Address};

use super::netlink::Link;

/// Who was answered, as whom, and by which interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bypass {
    /// The client.
    pub client: SocketAddr,
    /// The address that it had connected to.
    pub local: SocketAddr,
    /// The interface that the SYN-ACK came in by; `None` if it is this host's own.
    pub came_by: Option<String>,
    /// The interface that it was to leave by.
    pub left_by: String,
}

impl Bypass {
    /// What the programs have noted.
    pub fn new(noted: &abi::Bypass, links: &[Link]) -> Self {
        let name = |index: u32| match links.iter().find(|link| link.index == index) {
            Some(link) => link.name.clone(),
            None => format!("interface {index}"),
        };
        Self {
            client: socket_address(noted.client, noted.client_port),
            local: socket_address(noted.local, noted.local_port),
            came_by: (noted.ingress_ifindex != 0).then(|| name(noted.ingress_ifindex)),
            left_by: name(noted.egress_ifindex),
        }
    }
}

fn socket_address(address: Address, port: u32) -> SocketAddr {
    let port = u16::try_from(port).unwrap_or_default();
    SocketAddr::new(Ipv6Addr::from(address).to_canonical(), port)
}
