//! What there is on this node that steering depends on or has to live with: facts for whoever
//! judges them. Nothing is judged here, and nothing is changed.
//!
//! What cannot be seen, for want of privileges or because this kernel does not tell, is
//! [`Unseen`] and never taken for absent.
//!
//! [`Unseen`]: crate::sys::unseen::Unseen

mod dump;
pub mod features;
pub mod interfaces;
pub mod leftovers;
pub mod programs;
pub mod services;
mod xdp;

use self::features::Features;
use self::interfaces::Interface;
use self::leftovers::Leftovers;
use self::services::Services;
use super::{netlink, pins, sysctl};
use crate::sys::unseen::{Seen, Unseen};

/// Everything that was seen.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What the kernel can do.
    pub features: Features,
    /// Whether bpffs is mounted at its usual place.
    pub bpffs: Seen<bool>,
    /// The interfaces that were asked for and are there.
    pub interfaces: Seen<Vec<Interface>>,
    /// Those that were asked for and are not.
    pub absent: Vec<String>,
    /// The names of all interfaces.
    pub names: Vec<String>,
    /// What dead instances have left.
    pub leftovers: Seen<Leftovers>,
    /// Who balances the connections to services.
    pub services: Services,
}

/// Looks at the node, and at the interfaces of these names; without names, at all that load
/// balancers' traffic could arrive by.
pub fn look(names: &[String]) -> Survey {
    let messages = netlink::here(async |handle| netlink::link_messages(&handle).await);
    let messages = messages.map_err(|error| Unseen::because(format!("{error:#}")));
    let all = messages.clone().unwrap_or_default().into_iter().map(netlink::read_link);
    let all: Vec<_> = all.collect();
    let is_there = |name: &String| all.iter().any(|link| link.name == *name);
    let absent = match &messages {
        Ok(_) => names.iter().filter(|name| !is_there(name)).cloned().collect(),
        Err(_) => Vec::new(),
    };
    Survey {
        features: Features::probe(messages.as_deref().unwrap_or_default()),
        bpffs: pins::is_mounted().map_err(Unseen::from),
        interfaces: messages.map(|messages| interfaces::look(&messages, names)),
        absent,
        leftovers: Leftovers::find(&all),
        services: Services::look(&all),
        names: all.into_iter().map(|link| link.name).collect(),
    }
}

/// A sysctl below `net`, of this network namespace; `None` if it has no such thing, or nobody may
/// read it.
pub fn net_setting(name: &str) -> Option<String> {
    sysctl::get(name)
}
