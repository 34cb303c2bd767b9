//! The rules, one by one and beside each other: no connection may be two rules'.

use std::collections::BTreeSet;
use std::slice;

use super::ports::ports;
use super::{Invalid, Written, guard, inbound, outbound, some_time, upstream};
use crate::address::Cidr;
use crate::config::field::{self, At};
use crate::config::raw::{RawConfig, RawRule};
use crate::config::settings::Rule;
use crate::config::word::Word;

/// Longest name of a rule: it is a label of metrics.
pub(in crate::config) const LONGEST_NAME: usize = 63;
/// As many as the eBPF maps are made for.
const MOST_RULES: usize = 1024;

pub(super) fn rules(raw: &RawConfig, written: Written) -> Result<Vec<Rule>, Invalid> {
    if raw.rules.is_empty() {
        return Err(At::File.missing(field::RULES, "write what is to be protected, and how"));
    }
    if let Some(one_more) = raw.rules.get(MOST_RULES) {
        let fix = format!("write {MOST_RULES} rules at most");
        return Err(At::File.refuse(field::NAME, &one_more.name, fix));
    }
    let mut names = BTreeSet::new();
    let mut rules: Vec<Rule> = Vec::with_capacity(raw.rules.len());
    for raw in &raw.rules {
        let at = match written {
            Written::Flags => At::Flags,
            Written::File => At::Rule(&raw.name),
        };
        name(at, &raw.name)?;
        if !names.insert(raw.name.to_string()) {
            return Err(At::File.refuse(
                field::NAME,
                &raw.name,
                "give each rule a name of its own",
            ));
        }
        let rule = rule(at, raw)?;
        for other in &rules {
            distinct(at, raw, &rule, other)?;
        }
        rules.push(rule);
    }
    let entries = |rule: &Rule| rule.ports.iter().count() * rule.destinations.len();
    if rules.iter().map(entries).sum::<usize>() > MOST_DESTINATIONS {
        let fix = format!(
            "name fewer ports or wider ranges: each port with each range is an entry, and there are \
             {MOST_DESTINATIONS} of all rules"
        );
        let last = raw.rules.iter().rfind(|rule| !rule.destinations.is_empty());
        let word = last.map_or_else(|| Word::from(""), |rule| rule.name.clone());
        return Err(At::File.refuse(field::DESTINATIONS, &word, fix));
    }
    Ok(rules)
}

fn rule(at: At<'_>, raw: &RawRule) -> Result<Rule, Invalid> {
    Ok(Rule {
        name: raw.name.to_string(),
        ports: ports(at, &raw.ports)?,
        destinations: destinations(at, raw)?,
        inbound: inbound::inbound(at, raw)?,
        outbound: outbound::outbound(at, &raw.outbound)?,
        upstream: upstream::upstream(at, &raw.upstream)?,
        idle_timeout: some_time(at, field::IDLE_TIMEOUT, &raw.idle_timeout)?,
        guard: guard::guard(at, &raw.guard)?,
        when_absent: guard::when_absent(at, &raw.when_absent)?,
    })
}

fn name(at: At<'_>, word: &Word) -> Result<(), Invalid> {
    if word.is_empty() || word.len() > LONGEST_NAME || !word.chars().all(fits_into_name) {
        let fix = format!("write 1 to {LONGEST_NAME} letters, digits, or any of - _ .");
        return Err(at.refuse(field::NAME, word, fix));
    }
    Ok(())
}

pub(in crate::config) fn fits_into_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// Address ranges.
pub(super) fn ranges(
    at: At<'_>,
    field: field::Field,
    words: &[Word],
) -> Result<Vec<Cidr>, Invalid> {
    let range = |word: &Word| {
        let invalid =
            |error| Invalid::Range { field: at.name(field), error, position: word.position() };
        word.parse().map_err(invalid)
    };
    words.iter().map(range).collect()
}

/// Entries of the eBPF map: a port and a destination each.
const MOST_DESTINATIONS: usize = 1 << 14;

/// The ranges, which can't be held without a process: a hold knows ports only.
fn destinations(at: At<'_>, raw: &RawRule) -> Result<Vec<Cidr>, Invalid> {
    let destinations = ranges(at, field::DESTINATIONS, &raw.destinations)?;
    if !destinations.is_empty() && &*raw.when_absent == "drop" {
        let pass = at.write(field::WHEN_ABSENT, "pass");
        let all = at.short(field::DESTINATIONS);
        let fix = format!("write {pass}, or leave {all} out: ports are held for all destinations");
        return Err(at.refuse(field::WHEN_ABSENT, &raw.when_absent, fix));
    }
    Ok(destinations)
}

/// Of two rules that share a port, none is for the same destinations as the other: not for any, and
/// not for the same range.
fn distinct(at: At<'_>, raw: &RawRule, rule: &Rule, other: &Rule) -> Result<(), Invalid> {
    let Some(port) = rule.ports.iter().find(|port| other.ports.contains(*port)) else {
        return Ok(());
    };
    let (ours, theirs) = (&rule.destinations, &other.destinations);
    if ours.is_empty() && theirs.is_empty() {
        let destinations = at.short(field::DESTINATIONS);
        let fix = format!(
            "leave port {port} out: rule {} has it already; or give each its {destinations}",
            other.name
        );
        // The word that brings it.
        let word = raw
            .ports
            .iter()
            .find(|word| ports(at, slice::from_ref(word)).is_ok_and(|ports| ports.contains(port)));
        return Err(at.refuse(field::PORTS, word.unwrap_or(&raw.name), fix));
    }
    match raw.destinations.iter().zip(ours).find(|(_, range)| theirs.contains(range)) {
        Some((word, _)) => {
            let fix = format!("leave it out: rule {} has it already for port {port}", other.name);
            Err(at.refuse(field::DESTINATIONS, word, fix))
        }
        None => Ok(()),
    }
}
