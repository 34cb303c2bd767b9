//! A node as it stands in a cluster: a router in front, two network cards, pods behind.
//!
//! ```text
//!   client              router                  node                      pods
//!   ┌────────┐          ┌─────────────┐          ┌──────────────┐          ┌────────────┐
//!   │    eth0├──────────┤client0 node0├──────────┤eth0 veth-pod0├──────────┤eth0 POD 0  │
//!   │  CLIENT│          │             │          │NIC 0         │          │lo:  VIP    │
//!   └────────┘          │             │          │              │          ├────────────┤
//!                       │        node1├──────────┤eth1 veth-pod1├──────────┤eth0 POD 1  │
//!                       └─────────────┘          │NIC 1         │          └────────────┘
//!                                                └──────────────┘
//! ```
//!
//! The router sends what is for pods, VIP and services to the node's `eth0`, and the node's default
//! route is the router, by `eth0` as well; [`Site::enter_by`] and [`Site::answer_by`] choose other
//! ways. There is no
//! reverse-path filter anywhere, whatever the machine's default is. Rules of a firewall or of
//! kube-proxy are for the test to add.

use std::net::IpAddr;

use anyhow::{Context, Result};

use super::{Family, Netns, names};

/// Every address of a site in one family.
#[derive(Clone, Copy, Debug)]
pub struct SiteAddresses {
    /// Where connections come from.
    pub client: IpAddr,
    /// The router, as the client knows it.
    pub router: IpAddr,
    /// The router, as the node knows it, by each of the node's cards.
    pub router_ends: [IpAddr; 2],
    /// The node's address on `eth0` and on `eth1`.
    pub nics: [IpAddr; 2],
    /// The node, as the pods know it.
    pub pod_gateway: IpAddr,
    /// The two pods.
    pub pods: [IpAddr; 2],
    /// Served by pod 0, routed by the node, on no interface of the node.
    pub vip: IpAddr,
    /// A service's external address: on no interface, and routed by the router only.
    pub load_balancer: IpAddr,
    /// A service's internal address: on no interface, and routed by the router only.
    pub cluster: IpAddr,
}

impl SiteAddresses {
    /// The addresses of one family.
    pub fn of(family: Family) -> Self {
        let address = |v4: [u8; 4], v6: [u16; 3]| match family {
            Family::V4 => IpAddr::from(v4),
            Family::V6 => IpAddr::from([v6[0], v6[1], 0, 0, 0, 0, 0, v6[2]]),
        };
        Self {
            client: address([10, 78, 0, 2], [0xfd78, 0, 2]),
            router: address([10, 78, 0, 1], [0xfd78, 0, 1]),
            router_ends: [
                address([10, 78, 1, 1], [0xfd78, 1, 1]),
                address([10, 78, 2, 1], [0xfd78, 2, 1]),
            ],
            nics: [
                address([10, 78, 1, 2], [0xfd78, 1, 2]),
                address([10, 78, 2, 2], [0xfd78, 2, 2]),
            ],
            pod_gateway: address([10, 244, 0, 1], [0xfd10, 0x244, 1]),
            pods: [
                address([10, 244, 0, 2], [0xfd10, 0x244, 2]),
                address([10, 244, 0, 3], [0xfd10, 0x244, 3]),
            ],
            vip: address([203, 0, 113, 10], [0xfdcb, 0, 0x10]),
            load_balancer: address([203, 0, 113, 20], [0xfdcb, 0, 0x20]),
            cluster: address([10, 96, 0, 10], [0xfd96, 0, 0x10]),
        }
    }
}

/// Client, router, node and two pods.
#[derive(Debug)]
pub struct Site {
    /// Where connections come from: one hop beyond the node's own links.
    pub client: Netns,
    /// Between the client and both of the node's cards.
    pub router: Netns,
    /// Where Foreword runs: `eth0` and `eth1` towards the router, `veth-pod0` and `veth-pod1`.
    pub node: Netns,
    /// Where connections go to.
    pub pods: [Netns; 2],
}

impl Site {
    /// Makes a site with both address families up and forwarding on. Needs root and `ip`.
    pub fn new() -> Result<Self> {
        let name = names();
        let site = Self {
            client: Netns::new(&name("client"))?,
            router: Netns::new(&name("router"))?,
            node: Netns::new(&name("node"))?,
            pods: [Netns::new(&name("pod0"))?, Netns::new(&name("pod1"))?],
        };
        site.wire().context("cannot wire the site")?;
        for family in Family::BOTH {
            site.address(family).context("cannot give the site its addresses")?;
            site.route(family).context("cannot give the site its routes")?;
        }
        Ok(site)
    }

    fn wire(&self) -> Result<()> {
        for netns in [&self.router, &self.node] {
            for scope in ["all", "default"] {
                netns.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
            }
            netns.forward()?;
        }
        self.client.link("eth0", &self.router, "client0")?;
        self.router.link("node0", &self.node, "eth0")?;
        self.router.link("node1", &self.node, "eth1")?;
        for (number, pod) in self.pods.iter().enumerate() {
            self.node.link(&format!("veth-pod{number}"), pod, "eth0")?;
        }
        Ok(())
    }

    fn address(&self, family: Family) -> Result<()> {
        let at = SiteAddresses::of(family);
        let (link, host) = (family.link_prefix(), family.host_prefix());
        self.client.add_address("eth0", at.client, link)?;
        self.router.add_address("client0", at.router, link)?;
        for number in 0..2 {
            self.router.add_address(&format!("node{number}"), at.router_ends[number], link)?;
            self.node.add_address(&format!("eth{number}"), at.nics[number], link)?;
            self.node.add_address(&format!("veth-pod{number}"), at.pod_gateway, host)?;
            self.pods[number].add_address("eth0", at.pods[number], host)?;
        }
        self.pods[0].add_address("lo", at.vip, host)
    }

    fn route(&self, family: Family) -> Result<()> {
        let at = SiteAddresses::of(family);
        let option = family.ip_option();
        self.client.ip(&format!("{option} route add default via {}", at.router))?;
        self.enter_by(family, 0)?;
        self.node.ip(&format!("{option} route add default via {}", at.router_ends[0]))?;
        for (number, pod) in self.pods.iter().enumerate() {
            let (address, gateway) = (at.pods[number], at.pod_gateway);
            self.node.ip(&format!("{option} route add {address} dev veth-pod{number}"))?;
            pod.ip(&format!("{option} route add default via {gateway} dev eth0 onlink"))?;
        }
        self.node.ip(&format!("{option} route add {} via {}", at.vip, at.pods[0]))
    }

    /// Has the router send what is behind the node by card 0 or 1.
    pub fn enter_by(&self, family: Family, card: usize) -> Result<()> {
        let at = SiteAddresses::of(family);
        let (option, node) = (family.ip_option(), at.nics[card]);
        for behind in [at.pods[0], at.pods[1], at.vip, at.load_balancer, at.cluster] {
            self.router.ip(&format!("{option} route replace {behind} via {node}"))?;
        }
        Ok(())
    }

    /// Has the node send what is for the client by card 0 or 1, wherever it came in.
    pub fn answer_by(&self, family: Family, card: usize) -> Result<()> {
        let at = SiteAddresses::of(family);
        let (option, client, router) = (family.ip_option(), at.client, at.router_ends[card]);
        self.node.ip(&format!("{option} route replace {client} via {router} dev eth{card}"))
    }
}
