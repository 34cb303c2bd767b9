//! Warnings about a configuration, in words: what is wrong, and what to do about it.

use std::fmt;

use crate::config::field::{Syntax, field};
use crate::config::settings::{Outbound, Rule};
use crate::steer::warnings::Warning;

/// A warning in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.fix)
    }
}

impl Advice {
    /// A warning of steering's, for settings that were written in this syntax.
    pub fn new(warning: &Warning, syntax: Syntax) -> Self {
        match warning {
            Warning::StrictReversePath => Self {
                what: format!(
                    "net.ipv4.conf.all.rp_filter is 1, so that servers on this node can't see IPv4 \
                     clients ({})",
                    syntax.write(field!(rule.upstream.source), "client")
                ),
                fix: "set it to 2 or 0; each interface has its own".to_owned(),
            },
            Warning::NoRoute { upstream } => Self {
                what: format!("there is no route to the upstream {upstream}"),
                fix: "add one, or name an address that this node can reach".to_owned(),
            },
            Warning::UnwatchedInterface { upstream, interface } => Self {
                what: format!(
                    "the upstream {upstream} is reached by {interface}, where its answers to \
                     clients are not looked for"
                ),
                fix: format!(
                    "write {}, or its connections end with upstream-timeout",
                    syntax.write(field!(upstream_interfaces), interface)
                ),
            },
            Warning::ForeignSource { rule, address } => Self {
                what: format!(
                    "rule {rule}: {address} is not an address of this node, so no connection is made \
                     from it"
                ),
                fix: format!(
                    "add it to an interface (ip address add), or take it out of {}",
                    syntax.name(field!(rule.upstream.source_addresses))
                ),
            },
            Warning::AsymmetricClients { arrival, departure, ports } => {
                let arrival = arrival.join(", ");
                Self {
                    what: format!(
                        "a client that comes in by {arrival}, and is answered by {departure} as \
                         the routing table says, gets no answer from port {}",
                        ports.join(", ")
                    ),
                    fix: format!(
                        "if there are such clients, add {arrival} to {}, or write {}",
                        syntax.name(field!(interfaces)),
                        syntax.write(field!(rule.guard.answers), "off")
                    ),
                }
            }
        }
    }
}

/// Rules under which anybody may connect. If a firewall kept somebody out, it no longer does.
pub fn on_firewalls(rules: &[Rule], syntax: Syntax) -> Option<Advice> {
    let open = rules.iter().filter(|rule| rule.admits_anybody());
    let open: Vec<_> = open.map(|rule| rule.name.as_str()).collect();
    (!open.is_empty()).then(|| Advice {
        what: format!(
            "rule {} lets anybody connect: neither this host's firewall nor a NetworkPolicy sees \
             what is steered",
            open.join(", ")
        ),
        fix: format!(
            "if one of them is meant to keep somebody out, name who may connect ({}, {})",
            syntax.name(field!(rule.inbound.trusted)),
            syntax.write(field!(rule.inbound.untrusted), "refuse")
        ),
    })
}

/// Rules whose own TLVs make headers that may not fit into one segment, whatever is passed on.
pub fn on_long_headers(rules: &[Rule], syntax: Syntax) -> Vec<Advice> {
    const ONE_SEGMENT: usize = Outbound::ONE_SEGMENT;
    let field = syntax.name(field!(rule.outbound.tlvs.add));
    let lengths = rules.iter().filter_map(|rule| Some((rule, rule.outbound.own_length().ok()?)));
    lengths
        .filter(|(_, length)| *length > ONE_SEGMENT)
        .map(|(rule, length)| Advice {
            what: format!(
                "rule {}: the header that its upstream gets has up to {length} bytes before any TLV is \
                 passed on, and only {ONE_SEGMENT} are sure to arrive in one segment, as some \
                 receivers expect",
                rule.name
            ),
            fix: format!("shorten what is added ({field})"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_fields_as_they_were_written() {
        let warning = Warning::AsymmetricClients {
            arrival: vec!["eth1".to_owned()],
            departure: "eth0".to_owned(),
            ports: vec!["443".to_owned()],
        };
        let advice = Advice::new(&warning, Syntax::File).to_string();
        assert!(advice.contains("comes in by eth1, and is answered by eth0"), "{advice}");
        assert!(advice.contains("guard.answers: off"), "{advice}");
        let advice = Advice::new(&warning, Syntax::Flags).to_string();
        assert!(advice.contains("--guard-answers off"), "{advice}");
    }
}
