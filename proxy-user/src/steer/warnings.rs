//! What the settings ask for and this node, as it is now, will not give. A start and the doctor say
//! it, so that nobody has to conclude it from timeouts.

use std::io::ErrorKind;
use std::net::UdpSocket;

use super::netlink::{self, LOOPBACK, Link};
use super::veth;
use crate::address::{SourceAddr, UpstreamAddr};
use crate::config::Names;
use crate::config::settings::Rule;
use crate::sys::sysctl;

/// Something that will not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// `net.ipv4.conf.all.rp_filter` is 1, so the node's own servers can't see IPv4 clients.
    StrictReversePath,
    /// There is no route to an upstream that should see clients.
    NoRoute {
        /// The upstream.
        upstream: UpstreamAddr,
    },
    /// An upstream's answers to clients come by an interface where we don't look for them.
    UnwatchedInterface {
        /// The upstream.
        upstream: UpstreamAddr,
        /// The interface.
        interface: String,
    },
    /// Connections are to be made from an address that is not this node's.
    ForeignSource {
        /// The rule's name.
        rule: String,
        /// The address.
        address: SourceAddr,
    },
    /// Clients that come in by one interface, and are answered by another, get no answer: the guard at
    /// egress can't tell them from those that got past steering.
    AsymmetricClients {
        /// The interfaces that such clients could come in by.
        arrival: Vec<String>,
        /// The interface that they are answered by.
        departure: String,
        /// The ports that are guarded.
        ports: Vec<String>,
    },
}

/// Whether the node's reverse-path filter gets in the rules' way.
pub fn on_reverse_path(rules: &[Rule]) -> Option<Warning> {
    let is_strict =
        || matches!(sysctl::read("net/ipv4/conf/all/rp_filter"), Ok(Some(value)) if value == "1");
    (rules.iter().any(Rule::shows_clients) && is_strict()).then_some(Warning::StrictReversePath)
}

/// Upstreams whose answers to clients won't come where we look for them. `is_watched` tells of which
/// interfaces, by index, we do.
pub fn on_upstreams(
    rules: &[Rule],
    names: &Names,
    is_watched: impl Fn(u32) -> bool,
) -> Vec<Warning> {
    let links = netlink::run(async |handle| netlink::links(&handle).await).unwrap_or_default();
    let upstreams = rules.iter().filter(|rule| rule.shows_clients());
    let upstreams = upstreams.flat_map(|rule| names.addresses(&rule.upstream.address));
    upstreams.filter_map(|upstream| on_upstream(*upstream, &links, &is_watched)).collect()
}

fn on_upstream(
    upstream: UpstreamAddr,
    links: &[Link],
    is_watched: impl Fn(u32) -> bool,
) -> Option<Warning> {
    let to = upstream.get().ip();
    let output = netlink::run(async |handle| netlink::routes::output_interface(&handle, to).await);
    let Ok(Some(output)) = output else { return Some(Warning::NoRoute { upstream }) };
    // Answers of this node's own servers are caught on their way out to the client.
    if output == LOOPBACK || is_watched(output) {
        return None;
    }
    let name = links.iter().find(|link| link.index == output).map_or("?", |link| &link.name);
    Some(Warning::UnwatchedInterface { upstream, interface: name.to_owned() })
}

/// Addresses that connections are to be made from, and that are not this node's.
pub fn on_source_addresses(rules: &[Rule]) -> Vec<Warning> {
    let is_foreign = |address: &&SourceAddr| {
        let bound = UdpSocket::bind((address.get(), 0));
        matches!(bound, Err(error) if error.kind() == ErrorKind::AddrNotAvailable)
    };
    let foreign = rules.iter().flat_map(|rule| {
        let addresses = rule.upstream.source_addresses.iter().filter(is_foreign);
        addresses.map(|address| (rule.name.clone(), *address))
    });
    foreign.map(|(rule, address)| Warning::ForeignSource { rule, address }).collect()
}

/// Clients who would be cut off because they come in by one interface and are answered by another.
/// `is_protected` is asked by index.
pub fn on_asymmetric_routes(
    rules: &[Rule],
    links: &[Link],
    is_protected: impl Fn(u32) -> bool,
) -> Option<Warning> {
    let defaults = netlink::run(async |handle| netlink::routes::default_routes(&handle).await);
    judge_routes(rules, links, &defaults.unwrap_or_default(), is_protected)
}

/// `defaults` are the interfaces of default routes. A client that comes in by another piece of
/// hardware, from a network without a route of its own, is answered by one of those.
fn judge_routes(
    rules: &[Rule],
    links: &[Link],
    defaults: &[u32],
    is_protected: impl Fn(u32) -> bool,
) -> Option<Warning> {
    let guarded = rules.iter().filter(|rule| rule.guards_answers());
    let ports: Vec<_> = guarded.map(|rule| rule.ports.to_string()).collect();
    let departure =
        links.iter().find(|it| defaults.contains(&it.index) && is_protected(it.index))?;
    let could_bring_clients = |link: &&Link| {
        let is_other = link.index != LOOPBACK && veth::instance_of(link).is_none();
        is_other && link.is_up && !link.is_virtual && !is_protected(link.index)
    };
    let arrival: Vec<_> =
        links.iter().filter(could_bring_clients).map(|link| link.name.clone()).collect();
    let is_possible = !ports.is_empty() && !arrival.is_empty();
    let departure = departure.name.clone();
    is_possible.then_some(Warning::AsymmetricClients { arrival, departure, ports })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::parse;
    use crate::config::{Syntax, validate};

    fn rules(more: &str) -> Vec<Rule> {
        let text = format!(
            "interfaces: [eth0]\nrules:\n  - name: web\n    ports: [443]\n    inbound: {{ mode: \
             require, trusted: [192.0.2.0/28] }}\n    outbound: {{ version: v2 }}\n{more}"
        );
        validate(&parse(&text).unwrap(), Syntax::File).unwrap().rules
    }

    fn link(index: u32, name: &str, is_virtual: bool) -> Link {
        Link {
            index,
            name: name.to_owned(),
            alternative_names: Vec::new(),
            mtu: 1500,
            address: Vec::new(),
            peer_namespace: None,
            is_up: true,
            has_ethernet: true,
            alias: String::new(),
            is_virtual,
            lower: None,
            xdp: Vec::new(),
        }
    }

    fn judged(rules: &[Rule], links: &[Link], defaults: &[u32]) -> Option<Warning> {
        judge_routes(rules, links, defaults, |index| index == 2)
    }

    #[test]
    fn another_card_may_bring_clients_that_are_answered_elsewhere() {
        let links = [link(2, "eth0", false), link(3, "eth1", false), link(4, "veth1", true)];
        let expected = Warning::AsymmetricClients {
            arrival: vec!["eth1".to_owned()],
            departure: "eth0".to_owned(),
            ports: vec!["443".to_owned()],
        };
        assert_eq!(judged(&rules(""), &links, &[2]), Some(expected));
    }

    #[test]
    fn nobody_is_cut_off_without_a_guard_a_card_or_a_way_out() {
        let links = [link(2, "eth0", false), link(3, "eth1", false)];
        assert_eq!(judged(&rules("    guard: { answers: off }\n"), &links, &[2]), None);
        assert_eq!(judged(&rules(""), &links[..1], &[2]), None);
        assert_eq!(judged(&rules(""), &links, &[3]), None);
    }
}
