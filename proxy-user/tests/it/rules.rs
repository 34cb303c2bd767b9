//! What kube-proxy and an administrator write into a node's packet filter, in both forms that
//! there are: iptables (Debian's, which is iptables-nft) and nftables.
//!
//! The texts are in `rules/`, in the words in which the tools list them, with `${…}` for what
//! depends on the family. There is one service, of every type at once: a cluster address, a load
//! balancer's address and a node port, with both pods behind it.

use std::net::SocketAddr;

use netlab::{Family, Netns, Scratch, Site, SiteAddresses, output_of};

/// The service's port, on its cluster address and on the load balancer's.
pub const SERVICE_PORT: u16 = 80;
/// The service's port on the node's own addresses.
pub const NODE_PORT: u16 = 30080;
/// Where the pods listen.
pub const TARGET_PORT: u16 = 8080;

/// In whose words the rules are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// kube-proxy's default: chains of rules, one service after the other.
    Iptables,
    /// kube-proxy's nftables mode: a table of its own, with verdict maps.
    Nftables,
}

impl Form {
    /// Both of them, for loops.
    pub const BOTH: [Self; 2] = [Self::Iptables, Self::Nftables];

    /// The service's rules.
    pub fn install_kube_proxy(self, site: &Site, family: Family) {
        let rules = match self {
            Self::Iptables => include_str!("rules/kube_proxy.iptables"),
            Self::Nftables => include_str!("rules/kube_proxy.nft"),
        };
        self.install(&site.node, family, rules);
    }

    /// A firewall that drops whatever is to the node or through it, but for ICMP, loopback and
    /// answers, and what it can't make sense of in any direction.
    pub fn install_firewall(self, site: &Site, family: Family) {
        let rules = match self {
            Self::Iptables => include_str!("rules/firewall.iptables"),
            Self::Nftables => include_str!("rules/firewall.nft"),
        };
        self.install(&site.node, family, rules);
    }

    fn install(self, node: &Netns, family: Family, template: &str) {
        let scratch = Scratch::new();
        let rules = scratch.write("rules", &fill(template, family));
        let mut command = node.command(self.program(family));
        command.args(self.options()).arg(rules);
        output_of(command);
    }

    fn program(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Iptables, Family::V4) => "iptables-restore",
            (Self::Iptables, Family::V6) => "ip6tables-restore",
            (Self::Nftables, _) => "nft",
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Iptables => &["--noflush"],
            Self::Nftables => &["--file"],
        }
    }
}

/// Puts one family's words in the places of `${…}`.
fn fill(template: &str, family: Family) -> String {
    let at = SiteAddresses::of(family);
    let (ip, address_type, icmp, pods, services) = match family {
        Family::V4 => ("ip", "ipv4_addr", "icmp", "10.244.0.0/16", "10.96.0.0/16"),
        Family::V6 => ("ip6", "ipv6_addr", "ipv6-icmp", "fd10:244::/64", "fd96::/112"),
    };
    let endpoint = |number: usize| SocketAddr::new(at.pods[number], TARGET_PORT).to_string();
    let words = [
        ("FAMILY", ip.to_owned()),
        ("ADDRESS_TYPE", address_type.to_owned()),
        ("ICMP", icmp.to_owned()),
        ("POD_RANGE", pods.to_owned()),
        ("CLUSTER_RANGE", services.to_owned()),
        ("NODE", at.nics[0].to_string()),
        ("CLUSTER", at.cluster.to_string()),
        ("LOAD_BALANCER", at.load_balancer.to_string()),
        ("POD_0", at.pods[0].to_string()),
        ("POD_1", at.pods[1].to_string()),
        ("ENDPOINT_0", endpoint(0)),
        ("ENDPOINT_1", endpoint(1)),
        ("SERVICE_PORT", SERVICE_PORT.to_string()),
        ("NODE_PORT", NODE_PORT.to_string()),
    ];
    words.iter().fold(template.to_owned(), |text, (word, value)| {
        text.replace(&format!("${{{word}}}"), value)
    })
}
