//! What settings become.

use super::*;
use crate::config::fixtures::settings as settings_of;

fn settings(rules: &str) -> Settings {
    let text = format!("interfaces: [eth0]\nrules:\n{rules}");
    settings_of(&text)
}

fn tables(rules: &str) -> Tables {
    Tables::of(&settings(rules), &mut Numbers::default())
}

fn port(tables: &Tables, port: u16) -> Rule {
    match tables.0[&Key::Port(port)] {
        Value::Rule(rule) => rule,
        other => panic!("{other:?}"),
    }
}

const OPEN: &str = "
  - { name: open, ports: [80], inbound: { mode: off }, outbound: { version: v1 } }
";
const CLOSED: &str = "
  - name: closed
    ports: [81, 64000]
    inbound: { mode: require, trusted: [10.0.0.0/8, 'fd00::/8'] }
    outbound: { version: v1 }
    whenAbsent: drop
";
const BY_DESTINATION: &str = "
  - name: one
    ports: [80]
    destinations: [203.0.113.1, 203.0.113.2]
    inbound: { mode: require, trusted: [10.0.0.0/8] }
    outbound: { version: v1 }
";

#[test]
fn a_rule_is_its_ports_and_its_ranges() {
    let tables = tables(CLOSED);
    let rule = port(&tables, 81);
    assert_eq!(rule, port(&tables, 64000));
    assert_eq!(rule.flags, RULE_RESTRICTS | RULE_ANSWERS | RULE_TRUSTED_ONLY | RULE_REFUSES_DOWN);
    let members = |wanted: Table| tables.0.keys().filter(move |key| key.table() == wanted);
    // Both ports, and packets that can't be read.
    assert_eq!(members(Table::Held).count(), 3);
    assert_eq!(members(Table::UpstreamPorts).count(), 0);
    assert!(members(Table::Trust).all(|key| key.owner() == Some(rule.rule)));
    assert_eq!(members(Table::Trust).count(), 2);
    assert_eq!(tables.0[&Key::PortBits(1)], Value::Bits(1 << (81 - 64)));
    assert_eq!(tables.0[&Key::PortBits(1000)], Value::Bits(1));
    assert_eq!(tables.stale(), []);
}

#[test]
fn rules_by_destination_are_a_table_of_their_port() {
    let tables = tables(BY_DESTINATION);
    let entry = port(&tables, 80);
    assert_eq!(entry.flags, RULE_RETIRED | RULE_BY_DESTINATION, "others are left alone");
    let of_table: Vec<_> =
        tables.0.keys().filter(|key| key.table() == Table::Destinations).collect();
    assert_eq!(of_table.len(), 2);
    assert!(of_table.iter().all(|key| key.owner() == Some(entry.destinations)));
    assert_eq!(tables.stale(), []);
}

#[test]
fn the_rule_for_all_others_stands_beside_those_by_destination() {
    let tables = tables(&format!("{OPEN}{BY_DESTINATION}"));
    assert_eq!(port(&tables, 80).flags, RULE_BY_DESTINATION | RULE_REFUSES_DOWN);
    assert_ne!(port(&tables, 80).rule, 0);
}

#[test]
fn an_upstream_keeps_its_number_as_long_as_the_process_lives() {
    let mut numbers = Numbers::default();
    let to = |address: &str, down: &str| {
        let upstream = format!("upstream: {{ address: {address}, whenDown: {down} }} }}");
        settings(&OPEN.replace(" }\n", &format!(", {upstream}\n")))
    };
    let mut of = |address, down| {
        let tables = Tables::of(&to(address, down), &mut numbers);
        let rule = port(&tables, 80);
        (rule.upstream, rule.flags & RULE_REFUSES_DOWN != 0)
    };
    assert_eq!(of("original", "refuse"), (0, true));
    let one = of("\"10.0.0.1:80\"", "refuse").0;
    let other = of("\"app.test:80\"", "accept");
    assert!(one != 0 && other.0 != 0 && one != other.0 && !other.1);
    assert_eq!(of("\"10.0.0.1:80\"", "accept"), (one, false));
}

#[test]
fn a_port_that_is_gone_is_retired_and_its_ranges_are_stale() {
    let mut numbers = Numbers::default();
    let before = Tables::of(&settings(CLOSED), &mut numbers);
    let mut after = Tables::of(&settings(OPEN), &mut numbers);
    after.keep(&before);
    assert_eq!(port(&after, 81), RETIRED);
    assert_eq!(after.0[&Key::PortBits(1)], Value::Bits(1 << (80 - 64) | 1 << (81 - 64)));
    assert!(!after.0.contains_key(&Key::Held(81)), "it is open while nobody is there");
    let mut all = after.clone();
    all.0.extend(before.0.iter().filter(|(key, _)| key.table() == Table::Trust));
    let stale: Vec<_> = before.0.keys().filter(|key| key.table() == Table::Trust).collect();
    assert_eq!(all.stale().iter().collect::<Vec<_>>(), stale);
}

#[test]
fn upstreams_that_see_clients_answer_from_their_ports() {
    let rule = |upstream: &str| OPEN.replace("ports", &format!("upstream: {upstream}, ports"));
    for (upstream, back) in
        [("{ source: client }", 80), ("{ source: client, address: '203.0.113.9:8080' }", 8080)]
    {
        let tables = tables(&rule(upstream));
        let upstream_ports: Vec<_> =
            tables.0.keys().filter(|key| key.table() == Table::UpstreamPorts).copied().collect();
        assert_eq!(upstream_ports, [Key::UpstreamPort(back)], "{upstream}");
    }
}

#[test]
fn an_ipv4_range_is_one_of_mapped_addresses() {
    let range = Range::of(3, "10.0.0.0/8".parse().unwrap());
    assert_eq!(range.bits, 32 + 96 + 8);
    assert_eq!(range.address, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0]);
}

#[test]
fn numbers_begin_anew_before_they_have_no_place_in_a_scope() {
    let mut numbers = Numbers { last: MAX_OWNERS - 2, ..Numbers::default() };
    assert_eq!([numbers.next(), numbers.next()], [MAX_OWNERS - 1, 1]);
}
