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
    /// What it was called when we attached to it, if that is another name.
    former_name: Option<String>,
}

impl NetworkInterface {
    /// One of these links.
    pub fn among(links: &[Link], link: &Link) -> Self {
        let has_sub_interfaces = links.iter().any(|other| other.lower == Some(link.index));
        Self { link: link.clone(), has_sub_interfaces, former_name: None }
    }

    /// How it looks now; `None` if it is gone. Where another link has its index by now, neither name
    /// nor address is the same.
    pub fn renewed(&self, links: &[Link]) -> Option<Self> {
        let link = links.iter().find(|link| link.index == self.link.index)?;
        let is_it = link.name == self.link.name || link.address == self.link.address;
        let former = self.former_name.as_ref().unwrap_or(&self.link.name);
        is_it.then(|| Self {
            former_name: (*former != link.name).then(|| former.clone()),
            ..Self::among(links, link)
        })
    }

    /// Whether a pattern is for one of its names.
    pub fn is_called(&self, pattern: &InterfacePattern) -> bool {
        is_for(pattern, &self.link)
            || self.former_name.as_ref().is_some_and(|name| pattern.matches(name))
    }

    /// What it is for, by the settings; `None`: nothing.
    pub fn role(&self, settings: &Steering) -> Option<Role> {
        let named = |patterns: &[InterfacePattern]| patterns.iter().any(|p| self.is_called(p));
        if named(&settings.interfaces) {
            Some(Role::Protected)
        } else {
            named(&settings.upstream_interfaces).then_some(Role::Upstream)
        }
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

    /// Whether native XDP suits it: it is hardware, whose driver may support XDP. Virtual links don't,
    /// or lose their offloads to it. And with sub-interfaces, tagged frames may reach the driver's XDP
    /// without their tags, and would be taken for the interface's own.
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
    let interfaces = links.iter().map(|link| NetworkInterface::among(links, link));
    let selected = interfaces.filter_map(|interface| {
        let role = interface.role(settings)?;
        Some((interface.index(), (interface, role)))
    });
    selected.collect()
}

/// Whether the pattern is for this link, by any of its names.
pub fn is_for(pattern: &InterfacePattern, link: &Link) -> bool {
    let mut names = link.alternative_names.iter().chain([&link.name]);
    let is_named = names.any(|name| pattern.matches(name));
    let is_meant = || link.index != LOOPBACK && veth::instance_of(link).is_none();
    is_named && (pattern.exact().is_some() || is_meant())
}

/// Says which interfaces there are, if one that was named is not among them. A pattern may be for
/// none yet.
pub fn require_named(settings: &Steering, links: &[Link]) -> Result<()> {
    for pattern in settings.named() {
        let Some(name) = pattern.exact() else { continue };
        if !links.iter().any(|link| is_for(pattern, link)) {
            let there: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
            bail!("there is no interface '{name}'; the interfaces are {}", there.join(", "));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::settings as settings_of;

    fn settings(interfaces: &str) -> Steering {
        let text = format!(
            "interfaces: [{interfaces}]\nrules:\n  - name: web\n    ports: [80]\n    inbound: {{ \
             mode: off }}\n    outbound: {{ version: v2 }}\n"
        );
        settings_of(&text).steering
    }

    fn link(index: u32, name: &str, alternative: &[&str]) -> Link {
        Link {
            index,
            name: name.to_owned(),
            alternative_names: alternative.iter().copied().map(str::to_owned).collect(),
            mtu: 1500,
            address: vec![2, 0, 0, 0, 0, u8::try_from(index).unwrap()],
            peer_namespace: None,
            is_up: true,
            has_ethernet: true,
            alias: String::new(),
            is_virtual: false,
            lower: None,
            xdp: Vec::new(),
        }
    }

    #[test]
    fn an_alternative_name_is_a_name() {
        let links = [link(2, "eth0", &["enp3s0", "wan"]), link(3, "eth1", &[])];
        for interfaces in ["wan", "enp*", "eth0"] {
            let settings = settings(&format!("'{interfaces}'"));
            let selected = select(&settings, &links);
            assert_eq!(selected.into_keys().collect::<Vec<_>>(), [2], "{interfaces}");
            require_named(&settings, &links).unwrap();
        }
        assert!(require_named(&settings("lan"), &links).is_err());
    }

    #[test]
    fn a_renamed_interface_is_the_same_and_another_of_its_index_is_not() {
        let settings = settings("eth0");
        let before = NetworkInterface::among(&[], &link(2, "eth0", &[]));
        let renamed = before.renewed(&[link(2, "wan0", &[])]).unwrap();
        assert_eq!((renamed.name(), renamed.role(&settings)), ("wan0", Some(Role::Protected)));
        let again = renamed.renewed(&[link(2, "wan1", &[])]).unwrap();
        assert_eq!((again.name(), again.role(&settings)), ("wan1", Some(Role::Protected)));
        let back = again.renewed(&[link(2, "eth0", &[])]).unwrap();
        assert_eq!(back.former_name, None);
        let another = Link { address: vec![2, 0, 0, 0, 9, 9], ..link(2, "wan0", &[]) };
        assert!(before.renewed(&[another]).is_none());
        assert!(before.renewed(&[link(3, "eth0", &[])]).is_none(), "a name alone is nothing");
    }
}
