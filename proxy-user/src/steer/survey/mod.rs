//! What there is on this node that steering depends on or has to live with: facts for whoever
//! judges them. Nothing is judged here, and nothing is changed.
//!
//! What cannot be seen, for want of privileges or because this kernel does not tell, is
//! [`Unknown`] and never taken for absent.
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
use super::advice::{self, Advice};
use super::netlink::{self, Link};
use super::{asymmetric, instance, interface};
use crate::config::Names;
use crate::config::Syntax;
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
    /// Those that were asked for and are not: names, and patterns that are for none.
    pub absent: Vec<InterfacePattern>,
    /// The names of all interfaces.
    pub names: Vec<String>,
    /// Ways for packets to come in behind steering.
    pub tunnels: Fact<Tunnels>,
    /// What dead instances have left.
    pub leftovers: Fact<Leftovers>,
    /// Who balances the connections to services.
    pub services: Services,
    /// What the rules ask for and this node will not give.
    pub advice: Vec<Advice>,
}

/// Looks at the node, and at the interfaces that are meant; if nobody says which, at all that load
/// balancers' traffic could arrive by. And at what the rules of a file need.
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
        services: Services::look(&all),
        advice: advice::on_upstreams(rules, names, Syntax::File, is_watched)
            .into_iter()
            .chain(advice::on_source_addresses(rules, Syntax::File))
            .chain(asymmetric::advice(rules, Syntax::File, &all, is_watched))
            .collect(),
        names: all.into_iter().map(|link| link.name).collect(),
    }
}

/// Those that are meant of which there is none.
fn absent(meant: &Steering, links: &[Link]) -> Vec<InterfacePattern> {
    let is_absent =
        |pattern: &&InterfacePattern| !links.iter().any(|link| interface::is_for(pattern, link));
    meant.named().filter(is_absent).cloned().collect()
}
