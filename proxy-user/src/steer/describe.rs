//! How a [`Steering`] stands, in words for a person.

use std::net::{Ipv6Addr, SocketAddr};

use proxy_common::abi::{Address, Bypass};

use super::netlink::Link;
use super::{Role, Steering};

impl Steering {
    /// How it is attached, one fact a line, for a person to read.
    pub fn describe(&self) -> Vec<String> {
        let mut lines = vec![
            format!("steering  {} ({} ingress)", self.names(Role::Protected), self.plan.hook),
            format!("through   {} into a private network namespace", self.namespace.veth_name()),
            format!("maps      {}", self.instance.directory().display()),
        ];
        if self.attachments.values().any(|attachment| attachment.role == Role::Upstream) {
            lines.insert(1, format!("upstreams answer by {}", self.names(Role::Upstream)));
        }
        let guards = self.attachments.values().filter_map(|attachment| {
            Some(format!("{} ({})", attachment.interface, attachment.guard?.describe()))
        });
        let guards = guards.collect::<Vec<_>>().join(", ");
        if !guards.is_empty() {
            lines.push(format!("guard     {guards}"));
        }
        if self.plan.hold {
            lines.push("absent    new connections are dropped while no Foreword runs".to_owned());
        }
        if self.cgroup.is_none() {
            lines.push("tracking  off: no cgroup2 file system is mounted".to_owned());
        }
        lines
    }

    /// The interfaces of one role that are attached, or the patterns that none is there for.
    fn names(&self, role: Role) -> String {
        let of_role = self.attachments.values().filter(|attachment| attachment.role == role);
        let names: Vec<_> = of_role.map(|attachment| attachment.interface.to_string()).collect();
        if names.is_empty() {
            let patterns: Vec<_> =
                self.settings.interfaces.iter().map(ToString::to_string).collect();
            return format!("nothing yet: no interface is called {}", patterns.join(", "));
        }
        names.join(", ")
    }
}

/// An answer that was dropped: whose to whom, and which ways it and the packet before it took.
pub fn bypass(bypass: &Bypass, links: &[Link]) -> String {
    let name = |index: u32| match links.iter().find(|link| link.index == index) {
        Some(link) => link.name.clone(),
        None => format!("interface {index}"),
    };
    let ends = |address: Address, port: u32| {
        let port = u16::try_from(port).unwrap_or_default();
        SocketAddr::new(Ipv6Addr::from(address).to_canonical(), port)
    };
    let from = if bypass.ingress_ifindex == 0 {
        "this host".to_owned()
    } else {
        format!("a server behind {}", name(bypass.ingress_ifindex))
    };
    format!(
        "{from} answered {} as {} by {}",
        ends(bypass.client, bypass.client_port),
        ends(bypass.local, bypass.local_port),
        name(bypass.egress_ifindex)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bypass_names_both_ends_and_the_ways() {
        let mapped = |octets: [u8; 4]| std::net::Ipv4Addr::from(octets).to_ipv6_mapped().octets();
        let seen = Bypass {
            client: mapped([192, 0, 2, 1]),
            local: mapped([203, 0, 113, 10]),
            client_port: 40_000,
            local_port: 443,
            egress_ifindex: 2,
            ingress_ifindex: 0,
        };
        let expected = "this host answered 192.0.2.1:40000 as 203.0.113.10:443 by interface 2";
        assert_eq!(bypass(&seen, &[]), expected);
    }
}
