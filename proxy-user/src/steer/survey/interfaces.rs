//! Interfaces, and everything on them that sees packets before or after us.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use proxy_common::names::{HOLD, STEER};

use super::super::hook::has_tcx;
pub use super::super::interface::Role;
use super::super::interface::{NetworkInterface, Selection};
use super::super::netlink::{LOOPBACK, Link, read_link};
use super::super::{hold, lock, veth};
use super::programs::{self, Chain, ProgramNames, XdpProgram};
use super::xdp;
use crate::sys::fact::{Fact, Unknown};

/// Which instance steers an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteeredBy {
    /// None.
    Nobody,
    /// The one with this process id; 0 for one in another pid namespace.
    Process(i32),
    /// One that uses another directory of locks.
    Elsewhere,
}

/// An interface as it was seen.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What it is for, or would be.
    pub role: Role,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether its frames have an Ethernet header.
    pub is_ethernet: bool,
    /// Its framing, in the kernel's words.
    pub framing: String,
    /// The kind of a virtual link; `None` for hardware.
    pub kind: Option<String>,
    /// The driver of a piece of hardware.
    pub driver: Option<String>,
    /// The sub-interfaces for its VLANs.
    pub vlans: Vec<String>,
    /// Whether its driver runs XDP programs.
    pub native_xdp: Fact<bool>,
    /// Whether the guard would choose native XDP there, if the driver supports it.
    pub suits_native_xdp: bool,
    /// The programs at ingress.
    pub ingress: Chain,
    /// The programs at egress.
    pub egress: Chain,
    /// The programs in XDP, which come first.
    pub xdp: Vec<XdpProgram>,
    /// Which instance steers it.
    pub steered_by: Fact<SteeredBy>,
    /// Whether it has a hold.
    pub hold: Fact<bool>,
}

/// Looks at the selected interfaces, or at all that are up and have Ethernet headers, except those that
/// Foreword has made.
pub fn look(messages: &[LinkMessage], selection: Option<&Selection>) -> Vec<Interface> {
    let links: Vec<_> = messages.iter().cloned().map(read_link).collect();
    let has_tcx = has_tcx();
    let (programs, native) = (programs::names(), xdp::native());
    let context = Context { links: &links, programs: &programs, native: &native, has_tcx };
    let pairs = messages.iter().zip(&links);
    let roles =
        pairs.filter_map(|(message, link)| Some((message, link, role(message, link, selection)?)));
    roles.map(|(message, link, role)| context.look_at(message, link, role)).collect()
}

/// What an interface is for, or would be.
pub(super) fn role(
    message: &LinkMessage,
    link: &Link,
    selection: Option<&Selection>,
) -> Option<Role> {
    match selection {
        Some(selection) => selection.get(&link.index).map(|(_, role)| *role),
        None => is_likely(message, link).then_some(Role::Protected),
    }
}

/// Whether a load balancer's traffic could arrive by it.
fn is_likely(message: &LinkMessage, link: &Link) -> bool {
    let is_ours = veth::instance_of(link).is_some();
    is_up(message) && is_ethernet(message, link) && !is_ours && link.index != LOOPBACK
}

/// What is known about the node.
struct Context<'a> {
    links: &'a [Link],
    programs: &'a ProgramNames,
    native: &'a Fact<BTreeMap<u32, bool>>,
    has_tcx: bool,
}

impl Context<'_> {
    fn look_at(&self, message: &LinkMessage, link: &Link, role: Role) -> Interface {
        let [ingress, egress] = programs::chains(link.index, &link.name, self.has_tcx);
        let vlans = self.links.iter().filter(|other| other.lower == Some(link.index));
        let native = self.native.clone().and_then(|native| {
            native.get(&link.index).copied().ok_or_else(|| Unknown::because("the kernel is silent"))
        });
        Interface {
            role,
            mtu: link.mtu,
            is_up: is_up(message),
            is_ethernet: is_ethernet(message, link),
            framing: message.header.link_layer_type.to_string(),
            kind: kind(message),
            driver: driver(message),
            vlans: vlans.map(|vlan| vlan.name.clone()).collect(),
            native_xdp: native,
            suits_native_xdp: NetworkInterface::among(self.links, link).suits_native_xdp(),
            steered_by: steered_by(link.index, &ingress),
            hold: held(link.index, &ingress),
            ingress,
            egress,
            xdp: xdp_programs(message, self.programs),
            name: link.name.clone(),
        }
    }
}

pub(super) fn is_up(message: &LinkMessage) -> bool {
    message.header.flags.contains(LinkFlags::Up)
}

/// Loopback frames have an Ethernet header, too.
pub(super) fn is_ethernet(message: &LinkMessage, link: &Link) -> bool {
    link.index == LOOPBACK || message.header.link_layer_type == LinkLayerType::Ether
}

fn kind(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        }),
        _ => None,
    })
}

/// Found by the device, since `/sys/class/net` may show another namespace's interfaces.
fn driver(message: &LinkMessage) -> Option<String> {
    let (mut device, mut bus) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::ParentDevName(name) => device = Some(name),
            LinkAttribute::ParentDevBusName(name) => bus = Some(name),
            _ => {}
        }
    }
    let device = Path::new("/sys/bus").join(bus?).join("devices").join(device?);
    let driver = fs::read_link(device.join("driver")).ok()?;
    Some(driver.file_name()?.to_string_lossy().into_owned())
}

fn xdp_programs(message: &LinkMessage, names: &ProgramNames) -> Vec<XdpProgram> {
    let found = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(attributes) => Some(programs::xdp(attributes, names)),
        _ => None,
    });
    found.unwrap_or_default()
}

/// The owner of the lock. Without one, a tcx link shows that there is an instance, since it lives as
/// long as its process, unless that one drains.
fn steered_by(index: u32, ingress: &Chain) -> Fact<SteeredBy> {
    let holder = lock::holder(index).map_err(|error| Unknown::because(format!("{error:#}")))?;
    let is_there = ingress.tcx.iter().flatten().any(|program| program.name == STEER);
    Ok(match holder {
        Some(pid) => SteeredBy::Process(pid),
        None if is_there && !lock::is_draining(index) => SteeredBy::Elsewhere,
        None => SteeredBy::Nobody,
    })
}

/// A hold is a filter, or a link that an earlier version has pinned.
fn held(index: u32, ingress: &Chain) -> Fact<bool> {
    if ingress.programs().any(|program| program.name == HOLD) {
        return Ok(true);
    }
    Ok(hold::is_pinned(index)?)
}
