//! Clients who would be cut off because they come in by one interface and are answered by another:
//! what the second wall can't tell from somebody who got past the first.

use super::advice::Advice;
use super::netlink::{self, LOOPBACK, Link};
use super::veth;
use crate::config::field::{Syntax, field};
use crate::config::settings::Rule;

/// Says which interfaces such clients could come in by. `is_protected` is asked by index.
pub fn advice(
    rules: &[Rule],
    at: Syntax,
    links: &[Link],
    is_protected: impl Fn(u32) -> bool,
) -> Option<Advice> {
    let defaults = netlink::run(async |handle| netlink::routes::default_routes(&handle).await);
    judge(rules, at, links, &defaults.unwrap_or_default(), is_protected)
}

/// `defaults` are the interfaces that a default route leads to. Whoever comes in by another piece of
/// hardware, from a network that has no route of its own, is answered there.
fn judge(
    rules: &[Rule],
    at: Syntax,
    links: &[Link],
    defaults: &[u32],
    is_protected: impl Fn(u32) -> bool,
) -> Option<Advice> {
    let guarded = rules.iter().filter(|rule| rule.guards_answers());
    let ports: Vec<_> = guarded.map(|rule| rule.ports.to_string()).collect();
    let way_out = links.iter().find(|it| defaults.contains(&it.index) && is_protected(it.index))?;
    let could_bring_clients = |link: &&Link| {
        let is_another = link.index != LOOPBACK && veth::instance_of(link).is_none();
        is_another && link.is_up && !link.is_virtual && !is_protected(link.index)
    };
    let others = links.iter().filter(could_bring_clients).map(|link| link.name.as_str());
    let others: Vec<_> = others.collect();
    (!ports.is_empty() && !others.is_empty()).then(|| {
        let others = others.join(", ");
        Advice {
            what: format!(
                "a client that comes in by {others}, and is answered by {} as the routing table \
                 says, gets no answer from port {}",
                way_out.name,
                ports.join(", ")
            ),
            mend: format!(
                "if there are such clients, add {others} to {}, or write {}",
                at.name(field!(interfaces)),
                at.write(field!(rule.guard.answers), "off")
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::settings as settings_of;

    fn rules(more: &str) -> Vec<Rule> {
        let text = format!(
            "interfaces: [eth0]\nrules:\n  - name: web\n    ports: [443]\n    inbound: {{ mode: \
             require, trusted: [192.0.2.0/28] }}\n    outbound: {{ version: v2 }}\n{more}"
        );
        settings_of(&text).rules
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

    fn judged(rules: &[Rule], links: &[Link], defaults: &[u32]) -> Option<String> {
        judge(rules, Syntax::File, links, defaults, |index| index == 2).map(|it| it.to_string())
    }

    #[test]
    fn another_card_is_named_with_what_to_do() {
        let links = [link(2, "eth0", false), link(3, "eth1", false), link(4, "veth1", true)];
        let advice = judged(&rules(""), &links, &[2]).unwrap();
        assert!(advice.contains("comes in by eth1, and is answered by eth0"), "{advice}");
        assert!(advice.contains("guard.answers: off"), "{advice}");
    }

    #[test]
    fn nobody_is_cut_off_without_a_guard_a_card_or_a_way_out() {
        let links = [link(2, "eth0", false), link(3, "eth1", false)];
        assert_eq!(judged(&rules("    guard: { answers: off }\n"), &links, &[2]), None);
        assert_eq!(judged(&rules(""), &links[..1], &[2]), None);
        assert_eq!(judged(&rules(""), &links, &[3]), None);
    }
}
