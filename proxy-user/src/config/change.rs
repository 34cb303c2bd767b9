//! What a running process can take in, and what takes a new one.

use super::field::{self, At, Field};
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
        (field::INTERFACES, keeps(&before.interfaces, &after.interfaces)),
        (
            field::UPSTREAM_INTERFACES,
            keeps(&before.upstream_interfaces, &after.upstream_interfaces),
        ),
        (field::POD_INTERFACES, before.pod_interfaces == after.pod_interfaces),
        (field::TRUSTED_INTERFACES, before.trusted_interfaces == after.trusted_interfaces),
        (field::HOOK, before.hook == after.hook),
        (field::GUARD_HOOK, before.guard_hook == after.guard_hook),
        (field::REPLY, before.reply == after.reply),
        (field::WORKERS, old.workers == new.workers),
        (field::ADMIN_SOCKET, old.admin.socket == new.admin.socket),
        (field::ADMIN_HTTP, old.admin.http == new.admin.http),
        (field::SOURCE, !begins(Rule::shows_clients)),
        (field::WHEN_ABSENT, !begins(|rule| rule.when_absent == WhenAbsent::Drop)),
        (field::GUARD, !begins(Rule::is_guarded)),
        (field::HAIRPIN, !begins(|rule| !rule.inbound.hairpin.is_empty())),
        (field::MODE, !begins(Rule::may_guard_answers)),
    ];
    match checks.into_iter().find(|(_, is_movable)| !is_movable) {
        Some((field, _)) => Err(Unmovable { field: At::File.name(field) }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::super::{Written, validate};
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
        let settings = |text: &str| validate(&parse(text).unwrap(), Written::File).unwrap();
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
