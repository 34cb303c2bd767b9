//! The configurations under which packets are tested.

use std::net::IpAddr;

use netlab::Family;

use crate::facts::{Mode, Rule, Setup};

/// Ports that the test keeps a connection to.
pub const FLOW_PORTS: [u16; 3] = [80, 92, 102];
/// Ports of rules with a limit, which only sources reach that are put over it.
pub const LIMITED_PORTS: [u16; 1] = [96];
/// More than a source can send in a second.
const UNREACHED: u32 = 10_000_000;

/// Sources that are over the limit. No other source is in their network, by which limits may count.
pub fn exhausted_sources() -> [IpAddr; 2] {
    [[198, 51, 100, 9].into(), [0xfd77, 5, 0, 0, 0, 0, 0, 9].into()]
}

/// Rules of every kind.
fn every_rule() -> Vec<Rule> {
    let trusted: Vec<_> = Family::BOTH.map(|family| family.lb().into()).into();
    let vip: Vec<_> = Family::BOTH.map(|family| family.vip().into()).into();
    let rule =
        |port, mode| Rule { mode, trusted: trusted.clone(), refuses: true, ..Rule::open(port) };
    let unguarded = |port, mode| Rule { is_guarded: false, ..rule(port, mode) };
    let direct = |port, mode| Rule { refuses: false, ..rule(port, mode) };
    vec![
        Rule { is_held: true, ..rule(80, Mode::Require) },
        unguarded(82, Mode::Require),
        direct(84, Mode::Require),
        rule(86, Mode::Optional),
        unguarded(88, Mode::Optional),
        direct(90, Mode::Optional),
        Rule::open(92),
        rule(94, Mode::Off),
        Rule { limit: Some(UNREACHED), ..Rule::open(96) },
        Rule { destinations: vip.clone(), ..rule(98, Mode::Require) },
        Rule::open(98),
        Rule { destinations: vip, ..rule(100, Mode::Require) },
        Rule { is_retired: true, ..Rule::open(102) },
        Rule { is_held: true, ..Rule::open(104) },
    ]
}

/// Each kind of rule; the guard is in steer.
pub fn guard_in_tc(hook: &'static str) -> Setup {
    Setup {
        name: "tc",
        interfaces: &["eth0"],
        hook,
        guard_hook: "tc",
        reply: "route",
        rules: every_rule(),
    }
}

/// Each kind of rule, with the guard in XDP, `lo` protected, and replies by the way of arrival.
pub fn guard_in_xdp(hook: &'static str) -> Setup {
    Setup {
        name: "xdp",
        interfaces: &["eth0", "lo"],
        guard_hook: "generic",
        reply: "arrival",
        ..guard_in_tc(hook)
    }
}

/// No rule restricts anything.
pub fn open(hook: &'static str) -> Setup {
    let mut rules = every_rule();
    rules.retain(|rule| rule.is_retired || !rule.restricts());
    Setup { name: "open", rules, ..guard_in_tc(hook) }
}
