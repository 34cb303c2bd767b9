//! What is kept of rules that come and go.

use super::*;
use crate::config::fixtures::settings as settings_of;
use crate::relay::tally::Outcome;

fn settings(names: impl IntoIterator<Item = String>) -> Settings {
    let rule = |(port, name)| {
        format!(
            "  - name: {name}\n    ports: [{port}]\n    inbound: {{ mode: off }}\n    \
             outbound: {{ version: v2 }}\n"
        )
    };
    let rules: String = (1..).zip(names).map(rule).collect();
    let text = format!("interfaces: [eth0]\nrules:\n{rules}");
    settings_of(&text)
}

fn reload(rule_stats: &mut RuleStats, names: &[&str]) -> Vec<Arc<ActiveRule>> {
    let settings = settings(names.iter().map(ToString::to_string));
    rule_stats.retire_others(&settings);
    rule_stats.activate(&settings, 0)
}

fn names(rule_stats: &RuleStats) -> Vec<&str> {
    rule_stats.by_rule().map(|counts| counts.rule).collect()
}

#[test]
fn a_rule_that_is_gone_and_was_seen_is_in_the_sum() {
    let (mut rule_stats, now) = (RuleStats::new(2), Instant::now());
    let rules = reload(&mut rule_stats, &["one", "other"]);
    rules[0].tally.accepted();
    rules[0].tally.moved(3, 5);
    reload(&mut rule_stats, &["other"]);
    rule_stats.mark_seen(["one", "other"]);
    rule_stats.tidy(now);
    assert_eq!(names(&rule_stats), ["one", "other"], "it has a connection");
    rules[0].tally.ended(Outcome::Relayed);
    rule_stats.tidy(now);
    assert_eq!(names(&rule_stats), ["one", "other"], "nobody has seen its end");
    assert!(rule_stats.of_former().is_none());
    rule_stats.mark_seen(["one", "other"]);
    rule_stats.tidy(now);
    assert_eq!(names(&rule_stats), ["other"]);
    let former = rule_stats.of_former().unwrap();
    assert_eq!((former.relayed, former.bytes_in, former.bytes_out), (1, 3, 5));
    // A worker has it still, for a connection that comes late.
    rules[0].tally.accepted();
    assert_eq!(rule_stats.of_former().map(|counts| counts.open), Some(1));
    assert_eq!(rule_stats.counts().accepted, 2);
    // And one of that name is another rule.
    reload(&mut rule_stats, &["one"]);
    assert_eq!(rule_stats.by_rule().next().map(|one| one.counts.accepted), Some(0));
}

#[test]
fn a_rule_that_comes_back_goes_on() {
    let mut rule_stats = RuleStats::new(1);
    reload(&mut rule_stats, &["one", "other"])[0].tally.accepted();
    reload(&mut rule_stats, &["other"]);
    let rules = reload(&mut rule_stats, &["one", "other"]);
    rule_stats.mark_seen(["one"]);
    rule_stats.tidy(Instant::now());
    assert_eq!((names(&rule_stats), rules[0].tally.open()), (vec!["one", "other"], 1));
}

#[test]
fn nobody_has_to_look() {
    let (mut rule_stats, now) = (RuleStats::new(1), Instant::now());
    for round in 0..300 {
        let settings = settings((0..100).map(|rule| format!("r{rule}-{round}")));
        rule_stats.retire_others(&settings);
        for active in rule_stats.activate(&settings, 0) {
            active.tally.accepted();
            active.tally.ended(Outcome::Unchanged);
        }
        rule_stats.tidy(now);
    }
    assert_eq!(names(&rule_stats).len(), 100 + former::most(100));
    assert_eq!(rule_stats.counts().unchanged, 30_000);
}
