//! What there is on this node that steering depends on or has to live with. These are facts for the
//! doctor to judge; nothing is judged or changed here.
//!
//! What can't be seen, for want of privileges or because this kernel doesn't tell, is [`Unknown`], and
//! never taken for absent.
//!
//! [`Unknown`]: crate::sys::fact::Unknown

pub mod dump;
pub mod features;
pub mod interfaces;
pub mod leftovers;
pub mod programs;
pub mod services;
pub mod tunnels;
mod xdp;

use self::features::Features;
use self::interfaces::Interface;
use self::leftovers::Leftovers;
use self::services::Services;
use self::tunnels::Tunnels;
use super::netlink::{self, Link};
use super::warnings::{self, Warning};
use super::{instance, interface};
use crate::config::Names;
use crate::config::settings::{InterfacePattern, Rule, Steering};
use crate::sys::fact::{Fact, Unknown};

/// Everything that was seen.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What the kernel can do.
    pub features: Features,
    /// Whether bpffs is mounted at its usual place.
    pub bpffs: Fact<bool>,
    /// The interfaces that were asked for and are there.
    pub interfaces: Fact<Vec<Interface>>,
    /// Those that were asked for and are not there: names, and patterns that match nothing.
    pub absent: Vec<InterfacePattern>,
    /// The names of all interfaces.
    pub names: Vec<String>,
    /// Ways for packets to come in past steering.
    pub tunnels: Fact<Tunnels>,
    /// What dead instances have left.
    pub leftovers: Fact<Leftovers>,
    /// What balances connections to services.
    pub services: Services,
    /// What the rules ask for and this node will not give.
    pub warnings: Vec<Warning>,
}

/// Looks at the node, at what the rules need, and at the interfaces that are meant: without settings, at
/// all by which a load balancer's traffic could arrive.
pub fn look(meant: Option<&Steering>, rules: &[Rule], names: &Names) -> Survey {
    let messages = netlink::run(async |handle| netlink::link_messages(&handle).await);
    let messages = messages.map_err(|error| Unknown::because(format!("{error:#}")));
    let all = messages.clone().unwrap_or_default().into_iter().map(netlink::read_link);
    let all: Vec<_> = all.collect();
    let selection = meant.map(|meant| interface::select(meant, &all));
    let is_watched = |link| selection.as_ref().is_some_and(|them| them.contains_key(&link));
    Survey {
        features: Features::probe(messages.as_deref().unwrap_or_default()),
        bpffs: instance::is_mounted().map_err(Unknown::from),
        absent: meant.filter(|_| messages.is_ok()).map_or_else(Vec::new, |it| absent(it, &all)),
        tunnels: messages.clone().map(|messages| tunnels::look(&messages, selection.as_ref())),
        interfaces: messages.map(|messages| interfaces::look(&messages, selection.as_ref())),
        leftovers: Leftovers::find(&all),
        services: Services::find(&all),
        warnings: warnings::on_upstreams(rules, names, is_watched)
            .into_iter()
            .chain(warnings::on_source_addresses(rules))
            .chain(warnings::on_asymmetric_routes(rules, &all, is_watched))
            .collect(),
        names: all.into_iter().map(|link| link.name).collect(),
    }
}

/// The names and patterns that match no interface.
fn absent(meant: &Steering, links: &[Link]) -> Vec<InterfacePattern> {
    let is_absent =
        |pattern: &&InterfacePattern| !links.iter().any(|link| interface::is_for(pattern, link));
    meant.named().filter(is_absent).cloned().collect()
}
