//! What is kept of rules that come and go.

use super::*;
use crate::config::file::parse;
use crate::config::{Written, validate};
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
    validate(&parse(&text).unwrap(), Written::File).unwrap()
}

fn reload(ledger: &mut Ledger, names: &[&str]) -> Vec<Arc<Served>> {
    let settings = settings(names.iter().map(ToString::to_string));
    ledger.retire_others(&settings);
    ledger.serve(&settings, 0)
}

fn names(ledger: &Ledger) -> Vec<&str> {
    ledger.by_rule().map(|counts| counts.rule).collect()
}

#[test]
fn a_rule_that_is_gone_and_was_seen_is_in_the_sum() {
    let (mut ledger, now) = (Ledger::new(2), Instant::now());
    let rules = reload(&mut ledger, &["one", "other"]);
    rules[0].tally.accepted();
    rules[0].tally.moved(3, 5);
    reload(&mut ledger, &["other"]);
    ledger.mark_seen(["one", "other"]);
    ledger.tidy(now);
    assert_eq!(names(&ledger), ["one", "other"], "it has a connection");
    rules[0].tally.ended(Outcome::Relayed);
    ledger.tidy(now);
    assert_eq!(names(&ledger), ["one", "other"], "nobody has seen its end");
    assert!(ledger.of_former().is_none());
    ledger.mark_seen(["one", "other"]);
    ledger.tidy(now);
    assert_eq!(names(&ledger), ["other"]);
    let former = ledger.of_former().unwrap();
    assert_eq!((former.relayed, former.bytes_in, former.bytes_out), (1, 3, 5));
    // A worker has it still, for a connection that comes late.
    rules[0].tally.accepted();
    assert_eq!(ledger.of_former().map(|counts| counts.live), Some(1));
    assert_eq!(ledger.counts().accepted, 2);
    // And one of that name is another rule.
    reload(&mut ledger, &["one"]);
    assert_eq!(ledger.by_rule().next().map(|one| one.counts.accepted), Some(0));
}

#[test]
fn a_rule_that_comes_back_goes_on() {
    let mut ledger = Ledger::new(1);
    reload(&mut ledger, &["one", "other"])[0].tally.accepted();
    reload(&mut ledger, &["other"]);
    let rules = reload(&mut ledger, &["one", "other"]);
    ledger.mark_seen(["one"]);
    ledger.tidy(Instant::now());
    assert_eq!((names(&ledger), rules[0].tally.live()), (vec!["one", "other"], 1));
}

#[test]
fn nobody_has_to_look() {
    let (mut ledger, now) = (Ledger::new(1), Instant::now());
    for round in 0..300 {
        let settings = settings((0..100).map(|rule| format!("r{rule}-{round}")));
        ledger.retire_others(&settings);
        for served in ledger.serve(&settings, 0) {
            served.tally.accepted();
            served.tally.ended(Outcome::Unchanged);
        }
        ledger.tidy(now);
    }
    assert_eq!(names(&ledger).len(), 100 + former::most(100));
    assert_eq!(ledger.counts().unchanged, 30_000);
}
