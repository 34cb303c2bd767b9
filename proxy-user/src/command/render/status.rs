//! A status for a person to read.

use std::fmt::Write as _;
use std::time::Duration;

use bytesize::ByteSize;
use humantime::{format_duration, format_rfc3339_seconds};

use super::table::table;
use crate::config::settings::FORMER;
use crate::logging::LostLines;
use crate::operate::report::{DownUpstream, Lookup, Rule, State, Status};

/// One status, in a few lines and two tables.
pub fn describe(status: &Status) -> String {
    let mut text = head(status);
    let rules = status.rules.iter().map(cells);
    let head =
        ["RULE", "OPEN", "ACCEPTED", "RELAYED", "UNCHANGED", "CHECKS", "REFUSED", "IN", "OUT"];
    text.push('\n');
    text.push_str(&table(head, rules));
    for rule in &status.rules {
        let gone = if rule.name == FORMER { "all rules before them" } else { "this rule is gone" };
        let does = rule.does.as_deref().unwrap_or(gone);
        let _ = writeln!(text, "  {}: {does}", rule.name);
        if let Some(lookup) = &rule.lookup {
            let _ = writeln!(text, "    {}", found(lookup));
        }
        for DownUpstream { address, seconds, why } in &rule.down {
            let time = format_duration(Duration::from_secs(*seconds));
            let _ = writeln!(text, "    DOWN for {time}: {address} ({why})");
        }
    }
    let refusals = refusals(status);
    if !refusals.is_empty() {
        text.push('\n');
        let rows = refusals.iter().map(|Refusal { count, whose, why }| {
            [count.to_string(), (*whose).to_owned(), (*why).to_owned()]
        });
        text.push_str(&table(["REFUSED", "RULE", "WHY"], rows));
    }
    let packets = status.packets.iter().filter(|(_, count)| **count > 0);
    let packets: Vec<_> = packets.map(|(name, count)| format!("{count} {name}")).collect();
    if !packets.is_empty() {
        let _ = writeln!(text, "\npackets     {}", packets.join(", "));
    }
    text
}

fn head(status: &Status) -> String {
    let Status { version, instance, process, state, workers, reloads, .. } = status;
    let mut text = String::new();
    let age = format_duration(Duration::from_secs(status.age().as_secs()));
    let open = status.open();
    let state = match state {
        State::Serving => "serving".to_owned(),
        State::Draining => format!("draining: {open} connections are left"),
    };
    let _ = writeln!(text, "foreword {version}, instance {instance} (process {process}): {state}");
    let began = std::time::UNIX_EPOCH + Duration::from_secs(status.since);
    let _ = writeln!(text, "since       {} ({age})", format_rfc3339_seconds(began));
    if let Some(config) = &status.config {
        let counted = format!("{} reloads, {} refused", reloads.applied, reloads.refused);
        let _ = writeln!(text, "config      {} ({counted})", config.display());
    }
    let unhealthy_reason =
        status.unhealthy_reason().map(|unhealthy_reason| format!(": {unhealthy_reason}"));
    let _ = writeln!(text, "workers     {workers}{}", unhealthy_reason.unwrap_or_default());
    let _ = writeln!(text, "connections {open} of {} open", status.limit);
    let limit = status
        .memory_limit
        .map_or_else(|| "any amount".to_owned(), |limit| ByteSize(limit).to_string());
    let _ = writeln!(text, "memory      {} of {limit} for buffers", ByteSize(status.memory));
    let LostLines { stdout, stderr } = status.lost_lines;
    if stdout + stderr > 0 {
        let _ = writeln!(text, "lost lines  {stderr} of the log, {stdout} of standard output");
    }
    let repairs = [(&status.repairs.made, "repaired"), (&status.repairs.failed, "failed")];
    let repairs = repairs.into_iter().flat_map(|(counts, result)| {
        counts.iter().map(move |(kind, count)| format!("{kind} {count} times {result}"))
    });
    let repairs: Vec<_> = repairs.collect();
    if !repairs.is_empty() {
        let _ = writeln!(text, "disturbed   by others: {}", repairs.join(", "));
    }
    for interface in &status.interfaces {
        if let Some(why) = &interface.failed {
            let _ = writeln!(text, "interface   {}: NOT STEERED: {why}", interface.name);
            continue;
        }
        let guard = interface.guard.as_ref().map(|guard| format!(", guard {guard}"));
        let (name, role, hook) = (&interface.name, &interface.role, &interface.hook);
        let _ = writeln!(text, "interface   {name} ({role}, {hook}{})", guard.unwrap_or_default());
    }
    text
}

/// What a name stands for, and since when that is known.
fn found(Lookup { addresses, seconds, failed }: &Lookup) -> String {
    let ago = format_duration(Duration::from_secs(*seconds));
    let failed = failed.as_ref().map(|why| format!("; NOT LOOKED UP SINCE: {why}"));
    format!("at {}, looked up {ago} ago{}", addresses.join(", "), failed.unwrap_or_default())
}

fn cells(rule: &Rule) -> [String; 9] {
    let traffic = &rule.traffic;
    [
        rule.name.clone(),
        traffic.open.to_string(),
        traffic.accepted.to_string(),
        traffic.relayed.to_string(),
        traffic.unchanged.to_string(),
        traffic.health_checks.to_string(),
        traffic.refusals().to_string(),
        ByteSize(traffic.bytes_in).to_string(),
        ByteSize(traffic.bytes_out).to_string(),
    ]
}

/// How often something was refused.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// So often.
    pub count: u64,
    /// The rule's name; `packets` of those that came to no connection, `-` of nobody's.
    pub whose: &'a str,
    /// The reason's name.
    pub why: &'a str,
}

/// What was refused and why, the most first.
pub fn refusals(status: &Status) -> Vec<Refusal<'_>> {
    let of_rules = status.rules.iter().map(|rule| (rule.name.as_str(), &rule.traffic.refused));
    let others =
        [("packets", &status.dropped_packets), ("-", &status.unmatched.refused)].into_iter();
    let mut all: Vec<_> = of_rules
        .chain(others)
        .flat_map(|(whose, counts)| {
            counts.iter().map(move |(why, count)| Refusal { count: *count, whose, why })
        })
        .filter(|refusal| refusal.count > 0)
        .collect();
    all.sort_by_key(|refusal| std::cmp::Reverse(refusal.count));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::report::{Interface, Repairs, Traffic};

    #[test]
    fn what_is_refused_most_comes_first() {
        let refused = [("no-header".to_owned(), 2), ("header-timeout".to_owned(), 9)].into();
        let traffic = Traffic { refused, ..Traffic::default() };
        let addresses = vec!["10.0.0.1:80".to_owned(), "[fd00::1]:80".to_owned()];
        let lookup = Lookup { addresses, seconds: 90, failed: Some("why".to_owned()) };
        let status = Status {
            rules: vec![Rule {
                name: "web".to_owned(),
                lookup: Some(lookup),
                traffic,
                ..Rule::default()
            }],
            dropped_packets: [("syn-rate".to_owned(), 5), ("fragment".to_owned(), 0)].into(),
            interfaces: vec![
                Interface { name: "eth0".into(), ..Interface::default() },
                Interface {
                    name: "eth1".into(),
                    failed: Some("why".into()),
                    ..Interface::default()
                },
            ],
            repairs: Repairs { made: [("veth".to_owned(), 2)].into(), ..Repairs::default() },
            ..Status::default()
        };
        let rows = refusals(&status);
        let whys: Vec<_> = rows.iter().map(|refusal| refusal.why).collect();
        assert_eq!(whys, ["header-timeout", "syn-rate", "no-header"]);
        let text = describe(&status);
        assert!(text.contains("header-timeout") && text.contains("this rule is gone"), "{text}");
        assert!(text.contains("interface   eth1: NOT STEERED: why"), "{text}");
        let found = "at 10.0.0.1:80, [fd00::1]:80, looked up 1m 30s ago; NOT LOOKED UP SINCE: why";
        assert!(text.contains(found), "{text}");
        assert!(text.contains("disturbed   by others: veth 2 times repaired"), "{text}");
    }
}
