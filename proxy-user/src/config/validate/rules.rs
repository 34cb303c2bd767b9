//! The rules, one by one and beside each other: no connection may be two rules'.

use std::collections::BTreeSet;
use std::slice;

use proxy_common::capacity::{MAX_DESTINATIONS, MAX_RULES, MAX_SOURCES};

use super::ports::ports;
use super::{Invalid, Written, guard, inbound, outbound, some_time, upstream};
use crate::address::Cidr;
use crate::config::field::{self, At};
use crate::config::raw::{RawConfig, RawRule};
use crate::config::settings::{FORMER, Rule};
use crate::config::word::Word;

/// Longest name of a rule: it is a label of metrics.
pub(in crate::config) const LONGEST_NAME: usize = 63;

pub(super) fn rules(raw: &RawConfig, written: Written) -> Result<Vec<Rule>, Invalid> {
    if raw.rules.is_empty() {
        return Err(At::File.missing(field::RULES, "write what is to be protected, and how"));
    }
    if let Some(one_more) = raw.rules.get(MAX_RULES) {
        let fix = format!("write {MAX_RULES} rules at most");
        return Err(At::File.refuse(field::NAME, &one_more.name, fix));
    }
    let mut names = BTreeSet::new();
    let mut rules: Vec<Rule> = Vec::with_capacity(raw.rules.len());
    for raw in &raw.rules {
        let at = at(raw, written);
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
    fit(raw, &rules, written)?;
    Ok(rules)
}

/// How a refusal names a rule's fields.
pub(super) fn at(raw: &RawRule, written: Written) -> At<'_> {
    match written {
        Written::Flags => At::Flags,
        Written::File => At::Rule(&raw.name),
    }
}

/// Whether the ranges of all rules together fit into the eBPF maps, whatever was there before.
fn fit(raw: &RawConfig, rules: &[Rule], written: Written) -> Result<(), Invalid> {
    let (mut sources, mut destinations) = (0, 0);
    for (raw, rule) in raw.rules.iter().zip(rules) {
        let at = at(raw, written);
        for (field, words) in
            [(field::TRUSTED, &raw.inbound.trusted), (field::HAIRPIN, &raw.hairpin.sources)]
        {
            if let Some(one_more) = words.get(MAX_SOURCES - sources) {
                let fix = format!(
                    "name fewer or wider ranges: there is room for {MAX_SOURCES} ranges of \
                     sources, of all rules together"
                );
                return Err(at.refuse(field, one_more, fix));
            }
            sources += words.len();
        }
        let ports = rule.ports.iter().count();
        if let Some(one_more) = raw.destinations.get((MAX_DESTINATIONS - destinations) / ports) {
            let fix = format!(
                "name fewer ports or wider ranges: each port with each range is an entry, and \
                 there is room for {MAX_DESTINATIONS}, of all rules together"
            );
            return Err(at.refuse(field::DESTINATIONS, one_more, fix));
        }
        destinations += ports * raw.destinations.len();
    }
    Ok(())
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
    if &**word == FORMER {
        let fix = "choose another: the counters of rules that are gone are added up under this one";
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
