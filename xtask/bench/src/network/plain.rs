//! Everything on the loopback interface of one namespace.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;
use netlab::Netns;

use super::{Place, SERVER, SERVICE};
use crate::plan::{Contender, Setup};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const NODE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// The addresses, all of them on `lo`.
pub const PLACE: Place = Place {
    interface: "lo",
    client: CLIENT,
    service: SocketAddrV4::new(NODE, SERVICE),
    upstream: SocketAddrV4::new(NODE, SERVER),
    past: SocketAddrV4::new(NODE, SERVER),
};

/// What is fair here, and what is not.
pub const DESCRIPTION: &str = "Client, proxy and server are on `lo` of one namespace, with the \
    addresses 10.9.0.1 and 10.9.0.2; there are no firewall rules and there is no connection \
    tracking. The contenders listen at 10.9.0.2:9000. Foreword, the product, has no such \
    listener: *Foreword* is its relay, the same code, behind one that is made for this comparison \
    (`proxy-user/examples/listener.rs`). *Foreword, on lo* is the product itself, which steers \
    what comes from 10.9.0.1 into its private namespace and back, so that its packets pass one more \
    veth pair and two eBPF programs.";

/// Makes the namespace. Connections to the node's address come from the client's.
pub fn make(contender: Contender) -> Result<Netns> {
    let netns = Netns::new(&super::name(Setup::Plain, contender))?;
    netns.add_address("lo", CLIENT.into(), 32)?;
    netns.add_address("lo", NODE.into(), 32)?;
    netns.ip(&format!("route replace local {NODE} dev lo table local src {CLIENT}"))?;
    widen_ports(&netns)?;
    Ok(netns)
}

/// Room for as many closed connections as the load leaves behind.
pub fn widen_ports(netns: &Netns) -> Result<()> {
    netns.sysctl("net/ipv4/ip_local_port_range", "10000 65535")
}
