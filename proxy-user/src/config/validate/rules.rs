//! The rules, one by one and beside each other: no connection may be two rules'.

use std::collections::BTreeSet;
use std::slice;

use proxy_common::capacity::{MAX_DESTINATIONS, MAX_RULES, MAX_SOURCES};

use super::ports::ports;
use super::scope::Scope;
use super::{guard, inbound, outbound, positive_duration, upstream};
use crate::address::Cidr;
use crate::config::field::{Field, Syntax, field};
use crate::config::invalid::Invalid;
use crate::config::raw::{RawConfig, RawRule};
use crate::config::settings::{FORMER, Rule, WhenAbsent};
use crate::config::value::RawValue;

/// Longest name of a rule: it is a label of metrics.
pub(in crate::config) const LONGEST_NAME: usize = 63;

pub(super) fn rules(raw: &RawConfig, syntax: Syntax) -> Result<Vec<Rule>, Invalid> {
    let top = Scope::top(syntax);
    if raw.rules.is_empty() {
        return Err(top.missing(field!(rules), "write what is to be protected, and how"));
    }
    let mut names = BTreeSet::new();
    let mut rules: Vec<Rule> = Vec::with_capacity(raw.rules.len());
    for (index, raw) in raw.rules.iter().enumerate() {
        let Some(raw_name) = &raw.name else {
            let field = format!("rule {}: {}", index + 1, top.name(field!(rule.name)));
            let fix = "give each rule a name of its own".to_owned();
            return Err(Invalid::Missing { field, fix, position: None });
        };
        if index == MAX_RULES {
            let fix = format!("write {MAX_RULES} rules at most");
            return Err(top.refuse(field!(rule.name), raw_name, fix));
        }
        let scope = scope(raw, syntax);
        let name = name(scope, raw_name)?;
        if !names.insert(name.clone()) {
            let fix = "give each rule a name of its own";
            return Err(top.refuse(field!(rule.name), raw_name, fix));
        }
        let rule = rule(scope, raw, name)?;
        for other in &rules {
            require_distinct(scope, raw, &rule, other)?;
        }
        rules.push(rule);
    }
    require_room(raw, &rules, syntax)?;
    Ok(rules)
}

/// Where a rule's values stand.
pub(super) fn scope(raw: &RawRule, syntax: Syntax) -> Scope<'_> {
    Scope::rule(syntax, raw.name.as_ref())
}

/// Whether the ranges of all rules together fit into the eBPF maps, whatever was there before.
fn require_room(raw: &RawConfig, rules: &[Rule], syntax: Syntax) -> Result<(), Invalid> {
    let (mut sources, mut destinations) = (0, 0);
    for (raw, rule) in raw.rules.iter().zip(rules) {
        let scope = scope(raw, syntax);
        for (field, words) in [
            (field!(rule.inbound.trusted), &raw.inbound.trusted),
            (field!(rule.hairpin.sources), &raw.hairpin.sources),
        ] {
            if let Some(one_more) = words.get(MAX_SOURCES - sources) {
                let fix = format!(
                    "name fewer or wider ranges: there is room for {MAX_SOURCES} ranges of \
                     sources, of all rules together"
                );
                return Err(scope.refuse(field, one_more, fix));
            }
            sources += words.len();
        }
        let ports = rule.ports.iter().count();
        if let Some(one_more) = raw.destinations.get((MAX_DESTINATIONS - destinations) / ports) {
            let fix = format!(
                "name fewer ports or wider ranges: each port with each range is an entry, and \
                 there is room for {MAX_DESTINATIONS}, of all rules together"
            );
            return Err(scope.refuse(field!(rule.destinations), one_more, fix));
        }
        destinations += ports * raw.destinations.len();
    }
    Ok(())
}

fn rule(scope: Scope<'_>, raw: &RawRule, name: String) -> Result<Rule, Invalid> {
    Ok(Rule {
        name,
        ports: ports(scope, &raw.ports)?,
        destinations: ranges(scope, field!(rule.destinations), &raw.destinations)?,
        inbound: inbound::inbound(scope, raw)?,
        outbound: outbound::outbound(scope, &raw.outbound)?,
        upstream: upstream::upstream(scope, &raw.upstream)?,
        idle_timeout: positive_duration(scope, field!(rule.idle_timeout), &raw.idle_timeout)?,
        guard: guard::guard(scope, &raw.guard)?,
        when_absent: when_absent(scope, raw)?,
    })
}

fn name(scope: Scope<'_>, value: &RawValue) -> Result<String, Invalid> {
    if value.is_empty() || value.len() > LONGEST_NAME || !value.chars().all(fits_into_name) {
        let fix = format!("write 1 to {LONGEST_NAME} letters, digits, or any of - _ .");
        return Err(scope.refuse(field!(rule.name), value, fix));
    }
    if &**value == FORMER {
        let fix = "choose another: the counters of rules that are gone are added up under this one";
        return Err(scope.refuse(field!(rule.name), value, fix));
    }
    Ok(value.to_string())
}

/// A hold knows ports only: without a process, no destination can be told from another.
fn when_absent(scope: Scope<'_>, raw: &RawRule) -> Result<WhenAbsent, Invalid> {
    const FIELD: Field = field!(rule.when_absent);
    let when_absent = scope.choice(FIELD, &raw.when_absent)?;
    if when_absent == WhenAbsent::Drop && !raw.destinations.is_empty() {
        let pass = scope.write(FIELD, "pass");
        let destinations = scope.name(field!(rule.destinations));
        let fix = format!(
            "write {pass}, or leave {destinations} out: ports are held for all destinations"
        );
        return Err(scope.refuse(FIELD, &raw.when_absent, fix));
    }
    Ok(when_absent)
}

pub(in crate::config) fn fits_into_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// Address ranges.
pub(super) fn ranges(
    scope: Scope<'_>,
    field: Field,
    values: &[RawValue],
) -> Result<Vec<Cidr>, Invalid> {
    let range = |value: &RawValue| {
        let invalid = |error| Invalid::Range {
            field: scope.of_rule(scope.name(field)),
            error,
            position: value.position(),
        };
        value.parse().map_err(invalid)
    };
    values.iter().map(range).collect()
}

/// Of two rules that share a port, none is for the same destinations as the other: not for any, and
/// not for the same range.
fn require_distinct(
    scope: Scope<'_>,
    raw: &RawRule,
    rule: &Rule,
    other: &Rule,
) -> Result<(), Invalid> {
    let Some(port) = rule.ports.iter().find(|port| other.ports.contains(*port)) else {
        return Ok(());
    };
    let (ours, theirs) = (&rule.destinations, &other.destinations);
    if ours.is_empty() && theirs.is_empty() {
        let destinations = scope.name(field!(rule.destinations));
        let fix = format!(
            "leave port {port} out: rule {} has it already; or give each its {destinations}",
            other.name
        );
        let names_it = |value: &&RawValue| {
            ports(scope, slice::from_ref(*value)).is_ok_and(|ports| ports.contains(port))
        };
        let value = raw.ports.iter().find(names_it).cloned();
        let value = value.unwrap_or_else(|| port.to_string().into());
        return Err(scope.refuse(field!(rule.ports), &value, fix));
    }
    match raw.destinations.iter().zip(ours).find(|(_, range)| theirs.contains(range)) {
        Some((word, _)) => {
            let fix = format!("leave it out: rule {} has it already for port {port}", other.name);
            Err(scope.refuse(field!(rule.destinations), word, fix))
        }
        None => Ok(()),
    }
}
