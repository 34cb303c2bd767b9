//! The node's interfaces, and which of them are ours to do something on.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};

use super::netlink::{LOOPBACK, Link};
use super::veth;
use crate::config::settings::{InterfacePattern, Steering};

/// An interface that was there when we looked.
#[derive(Clone, Debug)]
pub struct NetworkInterface {
    link: Link,
    has_sub_interfaces: bool,
}

impl NetworkInterface {
    /// One of these links.
    pub fn among(links: &[Link], link: &Link) -> Self {
        let has_sub_interfaces = links.iter().any(|other| other.lower == Some(link.index));
        Self { link: link.clone(), has_sub_interfaces }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.link.name
    }

    /// Its index.
    pub fn index(&self) -> u32 {
        self.link.index
    }

    /// Its MTU, in bytes.
    pub fn mtu(&self) -> u32 {
        self.link.mtu
    }

    /// Whether its packets have an Ethernet header.
    pub fn has_ethernet(&self) -> bool {
        self.link.has_ethernet
    }

    /// Whether XDP belongs into its driver: a piece of hardware, whose driver may have a place for
    /// it. Virtual links have none, or lose their offloads to it. And tagged frames may reach the
    /// driver's XDP without their tags, and would be taken for the interface's own.
    pub fn suits_native_xdp(&self) -> bool {
        !self.link.is_virtual && self.link.index != LOOPBACK && !self.has_sub_interfaces
    }
}

impl fmt::Display for NetworkInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.link.name.fmt(f)
    }
}

/// What an interface is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Load-balancer traffic arrives by it.
    Protected,
    /// Only what upstreams answer to clients does.
    Upstream,
}

impl Role {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Upstream => "upstream",
        }
    }
}

/// Interfaces by index, each with its role.
pub type Selection = BTreeMap<u32, (NetworkInterface, Role)>;

/// Picks the interfaces that the settings are for, out of those that are there. A pattern is never
/// for `lo`, nor for anything that a Foreword has made.
pub fn select(settings: &Steering, links: &[Link]) -> Selection {
    let role = |link: &Link| {
        let named = |patterns: &[InterfacePattern]| patterns.iter().any(|p| is_for(p, link));
        if named(&settings.interfaces) {
            Some(Role::Protected)
        } else {
            named(&settings.upstream_interfaces).then_some(Role::Upstream)
        }
    };
    let selected = links.iter().filter_map(|link| Some((link, role(link)?)));
    selected
        .map(|(link, role)| (link.index, (NetworkInterface::among(links, link), role)))
        .collect()
}

/// Whether the pattern is for this link.
pub fn is_for(pattern: &InterfacePattern, link: &Link) -> bool {
    match pattern.exact() {
        Some(name) => name == link.name,
        None => {
            pattern.matches(&link.name)
                && link.index != LOOPBACK
                && veth::instance_of(link).is_none()
        }
    }
}

/// Says which interfaces there are, if one that was named is not among them. A pattern may be for
/// none yet.
pub fn require_named(settings: &Steering, links: &[Link]) -> Result<()> {
    for name in settings.named().filter_map(InterfacePattern::exact) {
        if !links.iter().any(|link| link.name == name) {
            let there: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
            bail!("there is no interface '{name}'; there is {}", there.join(", "));
        }
    }
    Ok(())
}
