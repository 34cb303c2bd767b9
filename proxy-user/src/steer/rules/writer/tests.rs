//! A change is made or not made, whatever fails, and no packet sees half of it.

use std::collections::BTreeSet;

use super::super::memory::{Decision, Fault, MemoryMaps, judge};
use super::*;
use crate::config::fixtures::settings as settings_of;

/// Ranges that fit into a trie of these tests, and ranges of one generation.
const ROOM: usize = 8;
const MOST: usize = ROOM / 2;

pub(super) fn settings(rules: &str) -> Settings {
    let text = format!("interfaces: [eth0]\nrules:\n{rules}");
    settings_of(&text)
}

fn closed(ports: &str, ranges: &[String], more: &str) -> String {
    format!(
        "  - name: r{}\n    ports: [{ports}]\n    inbound: {{ mode: require, trusted: [{}] }}\n    \
         outbound: {{ version: v1 }}\n{more}",
        ports.replace(", ", "-"),
        ranges.join(", ")
    )
}

fn ranges(second: u8) -> Vec<String> {
    (0..MOST).map(|n| format!("10.{second}.{n}.0/24")).collect()
}

fn before() -> Settings {
    let by_destination = "    destinations: [203.0.113.1, 203.0.113.2]\n";
    let held = "    whenAbsent: drop\n";
    settings(&format!(
        "{}{}  - {{ name: all, ports: [80], inbound: {{ mode: off }}, outbound: {{ version: v2 }} }}\n",
        closed("80", &ranges(1)[..2], by_destination),
        closed("443, 8443", &ranges(1)[2..], held),
    ))
}

fn after() -> Settings {
    let by_destination = "    destinations: [203.0.113.2, 203.0.113.3]\n";
    let client = "    upstream: { source: client }\n    whenAbsent: drop\n";
    settings(&format!(
        "{}{}",
        closed("80, 81", &ranges(2)[..2], by_destination),
        closed("443, 9443", &ranges(2)[2..], client),
    ))
}

/// What first packets meet, of all ports, destinations and sources that the settings above tell
/// apart.
fn judged(entries: &BTreeMap<Key, Value>) -> Vec<Option<Decision>> {
    let mapped = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped().octets();
    let mut judged = Vec::new();
    for port in [79, 80, 81, 443, 8443, 9443] {
        for destination in ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"] {
            for source in ["10.1.0.1", "10.1.3.1", "10.2.0.1", "10.2.3.1", "10.3.0.1"] {
                judged.push(judge(entries, port, mapped(destination), mapped(source)));
            }
        }
    }
    judged
}

/// What is in the maps, but for ranges that nothing leads to.
pub(super) fn in_force(entries: &BTreeMap<Key, Value>) -> BTreeMap<Key, Value> {
    let stale: BTreeSet<_> = Tables(entries.clone()).stale().into_iter().collect();
    entries.iter().filter(|(key, _)| !stale.contains(key)).map(|(k, v)| (*k, *v)).collect()
}

/// Maps that say what [`before`] does, and nothing else.
fn started() -> (Writer, MemoryMaps) {
    let (mut writer, mut maps) = (Writer::default(), MemoryMaps::new(ROOM));
    writer.apply(&mut maps, &before()).unwrap();
    (writer, maps)
}

/// As if no packet were about any more that has seen earlier rules.
fn settle(writer: &mut Writer, maps: &mut MemoryMaps) {
    writer.swapped_at = None;
    writer.tidy(maps).unwrap();
}

fn new() -> Vec<Option<Decision>> {
    let (mut writer, mut maps) = started();
    writer.apply(&mut maps, &after()).unwrap();
    judged(&maps.entries)
}

#[test]
fn each_packet_meets_the_old_rules_or_the_new_ones() {
    let (mut writer, mut maps) = started();
    let old = judged(&maps.entries);
    maps.fail(Fault::None);
    writer.apply(&mut maps, &after()).unwrap();
    settle(&mut writer, &mut maps);
    let new = new();
    assert_ne!(old, new);
    for entries in &maps.history {
        for (number, met) in judged(entries).into_iter().enumerate() {
            assert!(met == old[number] || met == new[number], "packet {number}: {met:?}");
        }
    }
    assert_eq!(writer.written.0, maps.entries);
}

#[test]
fn a_write_that_fails_changes_nothing() {
    for number in 0.. {
        let (mut writer, mut maps) = started();
        let was = maps.entries.clone();
        maps.fail(Fault::At(number));
        let result = writer.apply(&mut maps, &after());
        if result.is_ok() {
            assert!(number > 15, "all of {number} writes were tried");
            break;
        }
        assert_eq!(in_force(&maps.entries), was, "write {number}");
        settle(&mut writer, &mut maps);
        assert_eq!(maps.entries, was, "write {number}");
        maps.fail(Fault::None);
        writer.apply(&mut maps, &after()).unwrap();
        assert_eq!(judged(&maps.entries), new(), "write {number}, and again");
    }
}

/// Nothing can be taken back then; but each packet meets whole rules, and what is owed is made good
/// once the maps take writes again.
#[test]
fn maps_that_stop_taking_writes_are_mended_later() {
    let new = new();
    for number in 0.. {
        let (mut writer, mut maps) = started();
        let (was, old) = (maps.entries.clone(), judged(&maps.entries));
        maps.fail(Fault::From(number));
        if writer.apply(&mut maps, &after()).is_ok() {
            break;
        }
        let written = maps.writes;
        writer.apply(&mut maps, &after()).unwrap_err();
        assert_eq!(maps.writes, written + 1, "write {number}: what is undo comes first");
        for (packet, met) in judged(&maps.entries).into_iter().enumerate() {
            let whole = met == old[packet] || met == new[packet];
            assert!(whole, "write {number}, packet {packet}: {met:?}");
        }
        assert_eq!(writer.written.0, maps.entries, "write {number}: it knows what is there");
        maps.fail(Fault::None);
        let mut mended = (writer.clone(), maps.clone());
        settle(&mut mended.0, &mut mended.1);
        assert_eq!(mended.1.entries, was, "write {number}");
        writer.swapped_at = None;
        writer.apply(&mut maps, &after()).unwrap();
        assert_eq!(judged(&maps.entries), new, "write {number}, and again");
    }
}

#[test]
fn two_full_generations_fit_one_after_the_other() {
    let (mut writer, mut maps) = (Writer::default(), MemoryMaps::new(ROOM));
    for generation in 0..20 {
        writer.apply(&mut maps, &settings(&closed("80", &ranges(generation), ""))).unwrap();
        writer.swapped_at = None;
    }
    settle(&mut writer, &mut maps);
    let ranges = maps.entries.keys().filter(|key| key.table() == Table::Trust).count();
    assert_eq!(ranges, MOST, "nothing is left over");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let (mut writer, mut maps) = started();
    maps.fail(Fault::None);
    let mut many: Vec<_> = ranges(2);
    many.extend((0..=ROOM).map(|n| format!("10.9.{n}.0/24")));
    let error = writer.apply(&mut maps, &settings(&closed("80", &many, ""))).unwrap_err();
    assert!(format!("{error:#}").contains("foreword_trust would have"), "{error:#}");
    assert_eq!(maps.writes, 0);
}

#[test]
fn a_port_is_retired_at_the_end_or_not() {
    for number in 0.. {
        let (mut writer, mut maps) = started();
        let was = maps.entries.clone();
        maps.fail(Fault::At(number));
        if writer.retire_all(&mut maps).is_ok() {
            assert_eq!(number, 4, "a write for each port, and one that nothing is restricted");
            let met = judged(&maps.entries);
            assert!(met.into_iter().flatten().all(|met| met.may_open && met.syn_limit == 0));
            break;
        }
        settle(&mut writer, &mut maps);
        assert_eq!(maps.entries, was, "write {number}");
    }
}
