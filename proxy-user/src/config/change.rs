//! What a running process can take in, and what takes a new one.

use super::field::{Field, field};
use super::settings::{InterfacePattern, Rule, Settings, WhenAbsent};

/// A change that takes a new process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{field} can't be changed while it runs; start another `foreword run`, which takes over \
     without losing a connection"
)]
pub struct Unmovable {
    field: String,
}

/// Whether a process that runs with the old settings can go on with the new ones.
pub fn movable(old: &Settings, new: &Settings) -> Result<(), Unmovable> {
    let (before, after) = (&old.steering, &new.steering);
    let any = |settings: &Settings, test: fn(&Rule) -> bool| settings.rules.iter().any(test);
    // Programs are loaded and maps are made for what the rules want at the start.
    let begins = |test: fn(&Rule) -> bool| any(new, test) && !any(old, test);
    let keeps = |before: &[InterfacePattern], after: &[InterfacePattern]| {
        before.iter().all(|pattern| after.contains(pattern))
    };
    let checks: [(Field, bool); 15] = [
        (field!(interfaces), keeps(&before.interfaces, &after.interfaces)),
        (
            field!(upstream_interfaces),
            keeps(&before.upstream_interfaces, &after.upstream_interfaces),
        ),
        (field!(pod_interfaces), before.pod_interfaces == after.pod_interfaces),
        (field!(trusted_interfaces), before.trusted_interfaces == after.trusted_interfaces),
        (field!(hook), before.hook == after.hook),
        (field!(guard_hook), before.guard_hook == after.guard_hook),
        (field!(reply), before.reply == after.reply),
        (field!(workers), old.workers == new.workers),
        (field!(admin.socket), old.admin.socket == new.admin.socket),
        (field!(admin.http), old.admin.http == new.admin.http),
        (field!(rule.upstream.source), !begins(Rule::shows_clients)),
        (field!(rule.when_absent), !begins(|rule| rule.when_absent == WhenAbsent::Drop)),
        (field!(rule.guard.enabled), !begins(Rule::is_guarded)),
        (field!(rule.hairpin.sources), !begins(|rule| !rule.inbound.hairpin.is_empty())),
        (field!(rule.inbound.mode), !begins(Rule::may_guard_answers)),
    ];
    match checks.into_iter().find(|(_, is_movable)| !is_movable) {
        Some((field, _)) => Err(Unmovable { field: field.key() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::super::{Syntax, validate};
    use super::*;

    const OLD: &str = "
interfaces: [eth0]
rules:
  - name: web
    ports: [80]
    inbound: { mode: optional, trusted: [10.0.0.0/8] }
    outbound: { version: v2 }
";

    fn to(new: &str) -> Result<(), String> {
        let settings = |text: &str| validate(&parse(text).unwrap(), Syntax::File).unwrap();
        movable(&settings(OLD), &settings(new)).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_and_more_interfaces_can_be_taken_in() {
        let more = OLD.replace("optional", "require").replace("[80]", "[443]");
        let more = more.replace("[eth0]", "[eth0, eth1]");
        assert_eq!(to(&format!("drainTimeout: 1s\n{more}")), Ok(()));
    }

    #[test]
    fn what_the_process_was_made_for_can_not() {
        for (old, new, field) in [
            ("[eth0]", "[eth1]", "interfaces"),
            ("[eth0]", "[eth0]\nworkers: 2", "workers"),
            ("[eth0]", "[eth0]\nhook: clsact", "hook"),
            ("[eth0]", "[eth0]\nadmin: { socket: none }", "admin.socket"),
            ("[eth0]", "[eth0]\nadmin: { http: \"127.0.0.1:9478\" }", "admin.http"),
            ("version: v2 }", "version: v2 }\n    whenAbsent: drop", "whenAbsent"),
            ("version: v2 }", "version: v2 }\n    upstream: { source: client }", "upstream.source"),
        ] {
            let refused = to(&OLD.replace(old, new)).unwrap_err();
            assert!(refused.starts_with(&format!("{field} can't be changed")), "{refused}");
        }
    }
}
