//! What the way into the private namespace is made of, piece by piece: each can be looked for, and
//! made again.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use proxy_common::names::VETH_INNER;
use rtnetlink::Handle;

pub use super::netlink::routes::Family;
use super::netlink::routes::{self, Tables};
use super::netlink::{self, LOOPBACK, Link};
use crate::address::PRIVATE_LINK;
use crate::sys::netns::Namespace;
use crate::sys::sysctl;

/// The host end's addresses as the private namespace knows them, and the inner end's own, for what the
/// namespace sends in its own name. Nobody else knows them.
const GATEWAY_V4: Ipv4Addr = PRIVATE_LINK[0];
const INNER_V4: Ipv4Addr = PRIVATE_LINK[1];
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x77, 1);

/// Tells our host ends from anybody's link that happens to have such a name.
pub const ALIAS: &str = "Foreword";

/// What IPv6 asks of a link, in bytes. On a smaller one the kernel has none.
const LEAST_IPV6_MTU: u32 = 1280;

/// A network sysctl that has to have a value. `%` stands for the end of the veth that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sysctl {
    path: &'static str,
    value: &'static str,
}

/// The return program asks the routing table as for a packet to be forwarded from the host end.
const OF_HOST_END: [Sysctl; 5] = [
    Sysctl { path: "ipv4/conf/%/forwarding", value: "1" },
    Sysctl { path: "ipv4/conf/%/rp_filter", value: "0" },
    Sysctl { path: "ipv6/conf/%/forwarding", value: "1" },
    Sysctl { path: "ipv6/conf/%/accept_ra", value: "0" },
    Sysctl { path: "ipv6/conf/%/accept_dad", value: "0" },
];
const ACCEPT_OWN_ADDRESSES: Sysctl = Sysctl { path: "ipv4/conf/%/accept_local", value: "1" };
const INSIDE: [Sysctl; 6] = [
    Sysctl { path: "ipv4/conf/%/rp_filter", value: "0" },
    Sysctl { path: "ipv4/conf/all/rp_filter", value: "0" },
    Sysctl { path: "ipv4/conf/%/accept_local", value: "1" },
    Sysctl { path: "ipv4/tcp_mtu_probing", value: "1" },
    Sysctl { path: "ipv6/conf/%/accept_ra", value: "0" },
    Sysctl { path: "ipv6/conf/%/accept_dad", value: "0" },
];

impl Sysctl {
    fn name(self, end: &str) -> String {
        format!("net/{}", self.path.replace('%', end))
    }

    fn is_ipv6(self) -> bool {
        self.path.starts_with("ipv6")
    }

    /// Also where this kernel has no such thing.
    fn holds(self, end: &str) -> bool {
        !matches!(sysctl::read(&self.name(end)), Ok(Some(value)) if value != self.value)
    }

    fn set(self, end: &str) -> Result<()> {
        let name = self.name(end);
        sysctl::write(&name, self.value)
            .with_context(|| format!("cannot set {name} to {}", self.value))
    }
}

/// A piece, in the order in which they are made. Those of the host end come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetupItem {
    /// What tells a host end from others' links.
    HostAlias,
    /// A sysctl of the host end.
    HostSysctl(Sysctl),
    /// The host end is up.
    HostUp,
    /// A sysctl of the private namespace.
    Sysctl(Sysctl),
    /// `lo` of the private namespace is up.
    LoopbackUp,
    /// The inner end is up.
    InnerUp,
    /// The inner end's own address.
    InnerAddress,
    /// Where the host end is.
    Neighbour(Family),
    /// Everything is sent there.
    DefaultRoute(Family),
    /// What comes in by the inner end is asked about in a table of its own.
    Rule(Family),
    /// That delivers everything, whoever it is for.
    LocalRoute(Family),
}

impl SetupItem {
    /// The kind of thing that it is, for counters.
    pub fn kind(self) -> &'static str {
        match self {
            Self::HostSysctl(_) | Self::Sysctl(_) => "sysctl",
            Self::HostAlias | Self::HostUp | Self::LoopbackUp | Self::InnerUp => "veth",
            Self::InnerAddress
            | Self::Neighbour(_)
            | Self::DefaultRoute(_)
            | Self::Rule(_)
            | Self::LocalRoute(_) => "route",
        }
    }

    fn is_inside(self) -> bool {
        !matches!(self, Self::HostAlias | Self::HostSysctl(_) | Self::HostUp)
    }
}

impl fmt::Display for SetupItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |family: &Family| if *family == Family::V4 { "IPv4" } else { "IPv6" };
        match self {
            Self::HostAlias => write!(f, "the veth's alias"),
            Self::HostSysctl(sysctl) => {
                write!(f, "net/{}={} of the veth", sysctl.path, sysctl.value)
            }
            Self::HostUp => write!(f, "the veth's state (up)"),
            Self::Sysctl(sysctl) => {
                write!(f, "net/{}={} in the private namespace", sysctl.path, sysctl.value)
            }
            Self::LoopbackUp => write!(f, "the state (up) of lo in the private namespace"),
            Self::InnerUp => write!(f, "the state (up) of the veth's inner end"),
            Self::InnerAddress => write!(f, "the address of the veth's inner end"),
            Self::Neighbour(family) => {
                write!(f, "the {} neighbour in the private namespace", of(family))
            }
            Self::DefaultRoute(family) => {
                write!(f, "the {} default route in the private namespace", of(family))
            }
            Self::Rule(family) => write!(f, "the {} rule in the private namespace", of(family)),
            Self::LocalRoute(family) => {
                write!(f, "the {} local route in the private namespace", of(family))
            }
        }
    }
}

/// The two ends of a veth, as they were last seen.
#[derive(Clone, Debug)]
pub struct VethEnds {
    /// The host end.
    pub host: Link,
    /// The end in the private namespace.
    pub inner: Link,
    /// Packets with one of the node's own addresses as their source are to be taken, too.
    pub accepts_own_addresses: bool,
}

impl VethEnds {
    /// The pieces that belong to them.
    pub fn items(&self) -> BTreeSet<SetupItem> {
        let has_ipv6 = has_ipv6() && self.host.mtu >= LEAST_IPV6_MTU;
        items(self.accepts_own_addresses, has_ipv6)
    }

    /// Which of these pieces are there.
    pub fn observe(&self, namespace: &Namespace) -> Result<BTreeSet<SetupItem>> {
        let mut items = self.items();
        let (host, inner) = (&self.host, &self.inner);
        let seen = netlink::run_in(namespace, async |handle| {
            let families = if has_ipv6() { &BOTH[..] } else { &BOTH[..1] };
            let tables = Tables::read(&handle, families).await?;
            let loopback = netlink::link(&handle, "lo").await?;
            let is_up = loopback.is_some_and(|loopback| loopback.is_up);
            let sysctls: BTreeSet<_> =
                INSIDE.into_iter().filter(|sysctl| sysctl.holds(VETH_INNER)).collect();
            Ok((tables, is_up, sysctls))
        });
        let (tables, is_loopback_up, sysctls) = seen.context("cannot look at the way inside")?;
        items.retain(|item| match item {
            SetupItem::HostAlias => host.alias == ALIAS,
            SetupItem::HostSysctl(sysctl) => sysctl.holds(&host.name),
            SetupItem::HostUp => host.is_up,
            SetupItem::Sysctl(sysctl) => sysctls.contains(sysctl),
            SetupItem::LoopbackUp => is_loopback_up,
            SetupItem::InnerUp => inner.is_up,
            SetupItem::InnerAddress => tables.has_address(inner.index, INNER_V4),
            SetupItem::Neighbour(family) => {
                tables.has_neighbour(inner.index, gateway(*family), &host.address)
            }
            SetupItem::DefaultRoute(family) => {
                tables.has_default_route(inner.index, gateway(*family))
            }
            SetupItem::Rule(family) => tables.has_rule(*family, VETH_INNER),
            SetupItem::LocalRoute(family) => tables.has_local_route(*family),
        });
        Ok(items)
    }

    /// Makes these pieces, whatever there was of them.
    pub fn make(&self, items: &BTreeSet<SetupItem>, namespace: &Namespace) -> Result<()> {
        let (inside, outside): (Vec<_>, Vec<_>) =
            items.iter().copied().partition(|item| item.is_inside());
        if !outside.is_empty() {
            netlink::run(async |handle| self.make_each(&handle, &outside).await)?;
        }
        if !inside.is_empty() {
            netlink::run_in(namespace, async |handle| self.make_each(&handle, &inside).await)?;
        }
        Ok(())
    }

    async fn make_each(&self, handle: &Handle, items: &[SetupItem]) -> Result<()> {
        let (host, inner) = (&self.host, self.inner.index);
        for item in items {
            match *item {
                SetupItem::HostAlias => netlink::set_alias(handle, host.index, ALIAS).await,
                SetupItem::HostSysctl(sysctl) => sysctl.set(&host.name),
                SetupItem::HostUp => netlink::set_up(handle, host.index).await,
                SetupItem::Sysctl(sysctl) => sysctl.set(VETH_INNER),
                SetupItem::LoopbackUp => netlink::set_up(handle, LOOPBACK).await,
                SetupItem::InnerUp => netlink::set_up(handle, inner).await,
                SetupItem::InnerAddress => routes::add_address(handle, inner, INNER_V4).await,
                SetupItem::Neighbour(family) => {
                    routes::set_neighbour(handle, inner, gateway(family), &host.address).await
                }
                SetupItem::DefaultRoute(family) => {
                    routes::add_default_route(handle, inner, gateway(family)).await
                }
                SetupItem::Rule(family) => routes::add_rule(handle, family, VETH_INNER).await,
                SetupItem::LocalRoute(family) => routes::add_local_route(handle, family).await,
            }?;
        }
        Ok(())
    }
}

const BOTH: [Family; 2] = [Family::V4, Family::V6];

fn items(accepts_own_addresses: bool, has_ipv6: bool) -> BTreeSet<SetupItem> {
    let is_had = |sysctl: &Sysctl| has_ipv6 || !sysctl.is_ipv6();
    let mut items = BTreeSet::from([
        SetupItem::HostAlias,
        SetupItem::HostUp,
        SetupItem::LoopbackUp,
        SetupItem::InnerUp,
    ]);
    items.insert(SetupItem::InnerAddress);
    items.extend(OF_HOST_END.into_iter().filter(is_had).map(SetupItem::HostSysctl));
    if accepts_own_addresses {
        items.insert(SetupItem::HostSysctl(ACCEPT_OWN_ADDRESSES));
    }
    items.extend(INSIDE.into_iter().filter(is_had).map(SetupItem::Sysctl));
    for family in BOTH.into_iter().filter(|family| has_ipv6 || *family == Family::V4) {
        items.extend([
            SetupItem::Neighbour(family),
            SetupItem::DefaultRoute(family),
            SetupItem::Rule(family),
            SetupItem::LocalRoute(family),
        ]);
    }
    items
}

/// Whether this kernel has IPv6.
fn has_ipv6() -> bool {
    sysctl::exists("net/ipv6")
}

fn gateway(family: Family) -> IpAddr {
    match family {
        Family::V4 => GATEWAY_V4.into(),
        Family::V6 => GATEWAY_V6.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_ipv6_nothing_of_it_is_expected() {
        let is_ipv6 = |item: &SetupItem| match item {
            SetupItem::HostSysctl(sysctl) | SetupItem::Sysctl(sysctl) => sysctl.is_ipv6(),
            SetupItem::Neighbour(family)
            | SetupItem::DefaultRoute(family)
            | SetupItem::Rule(family)
            | SetupItem::LocalRoute(family) => *family == Family::V6,
            _ => false,
        };
        assert!(!items(true, false).iter().any(is_ipv6));
        assert_eq!(items(true, true).iter().filter(|item| is_ipv6(item)).count(), 9);
    }

    #[test]
    fn a_link_is_up_before_what_it_would_lose_by_being_down() {
        let items: Vec<_> = items(false, true).into_iter().collect();
        let place = |wanted| items.iter().position(|item| *item == wanted);
        assert!(place(SetupItem::InnerUp) < place(SetupItem::Neighbour(Family::V4)));
        assert!(
            place(SetupItem::Neighbour(Family::V6)) < place(SetupItem::DefaultRoute(Family::V6))
        );
        assert!(place(SetupItem::HostUp) < place(SetupItem::InnerUp), "the host end comes first");
    }
}
