//! Ways for packets to come in inside other packets. The outer packets pass the steered interfaces and
//! belong to no connection of ours; the inner ones come out past steering.

use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage,
};

use super::super::interface::{Role, Selection};
use super::super::netlink::{Link, read_link};
use super::interfaces::{is_ethernet, is_up, role};
use crate::sys::sysctl;

/// Everything of that kind that is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tunnels {
    /// Links that are up.
    pub links: Vec<Tunnel>,
    /// Protected interfaces that take packets with MPLS labels.
    pub mpls: Vec<String>,
}

/// A link whose packets travel inside others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Its name.
    pub name: String,
    /// Its kind, in the kernel's words: `vxlan`, `wireguard`, ….
    pub kind: String,
    /// Whether its frames have an Ethernet header, so that it can be steered itself.
    pub is_ethernet: bool,
    /// Whether it is steered itself.
    pub is_protected: bool,
    /// By which interfaces the outer packets come.
    pub underlay: Underlay,
}

/// By which interfaces a tunnel's outer packets come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Underlay {
    /// By any: the tunnel is not bound to one.
    Any,
    /// By this protected one.
    Protected(String),
    /// By one that is not protected, or is in another namespace.
    Unprotected,
}

/// Looks for all tunnels. Without a selection, the interfaces that [`super::interfaces`] would look at
/// count as protected.
pub fn look(messages: &[LinkMessage], selection: Option<&Selection>) -> Tunnels {
    let links: Vec<_> = messages.iter().cloned().map(read_link).collect();
    let all: Vec<_> = messages.iter().zip(&links).collect();
    let protected: Vec<_> = all
        .iter()
        .filter(|(message, link)| role(message, link, selection) == Some(Role::Protected))
        .map(|(_, link)| *link)
        .collect();
    let tunnels = all.iter().filter(|(message, _)| is_up(message)).filter_map(|(message, link)| {
        Some(Tunnel {
            name: link.name.clone(),
            kind: tunnel_kind(message)?,
            is_ethernet: is_ethernet(message, link),
            is_protected: protected.iter().any(|other| other.index == link.index),
            underlay: underlay(message, &protected),
        })
    });
    let takes_mpls = |name: &str| matches!(sysctl::read(&format!("net/mpls/conf/{name}/input")), Ok(Some(value)) if value == "1");
    Tunnels {
        links: tunnels.collect(),
        mpls: protected.iter().map(|it| it.name.clone()).filter(|it| takes_mpls(it)).collect(),
    }
}

/// The kind of a link, if it is a tunnel.
fn tunnel_kind(message: &LinkMessage) -> Option<String> {
    let kind = infos(message).find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })?;
    let is_tunnel = match kind {
        InfoKind::Vxlan
        | InfoKind::Geneve
        | InfoKind::GreTap
        | InfoKind::GreTap6
        | InfoKind::GreTun
        | InfoKind::GreTun6
        | InfoKind::ErSpan
        | InfoKind::Ip6ErSpan
        | InfoKind::IpIp
        | InfoKind::Ip6Tnl
        | InfoKind::SitTun
        | InfoKind::Vti
        | InfoKind::Vti6
        | InfoKind::Xfrm
        | InfoKind::Wireguard
        | InfoKind::BareUdp
        | InfoKind::Gtp
        | InfoKind::Amt
        | InfoKind::BatAdv
        | InfoKind::MacSec => true,
        InfoKind::Other(name) => matches!(name.as_str(), "ovpn" | "l2tpeth"),
        _ => false,
    };
    is_tunnel.then(|| kind.to_string())
}

fn underlay(message: &LinkMessage, protected: &[&Link]) -> Underlay {
    let is_elsewhere =
        message.attributes.iter().any(|it| matches!(it, LinkAttribute::LinkNetNsId(_)));
    match lower(message) {
        _ if is_elsewhere => Underlay::Unprotected,
        None => Underlay::Any,
        Some(index) => match protected.iter().find(|link| link.index == index) {
            Some(link) => Underlay::Protected(link.name.clone()),
            None => Underlay::Unprotected,
        },
    }
}

/// The interface that a tunnel is bound to, by index.
fn lower(message: &LinkMessage) -> Option<u32> {
    let general = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    });
    // VXLAN has an attribute of its own.
    let own = infos(message).find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(words)) => words.iter().find_map(|word| match word {
            InfoVxlan::Link(index) => Some(*index),
            _ => None,
        }),
        _ => None,
    });
    general.or(own).filter(|index| *index != 0)
}

fn infos(message: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    let lists = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    lists.flatten()
}
