//! How two configurations differ: a line for each option, by its path.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::raw::RawConfig;

/// The lines, such as `rules.web.inbound.mode: optional → require`; none if there is no difference.
pub fn between(old: &RawConfig, new: &RawConfig) -> Vec<String> {
    let mut lines = Vec::new();
    match (serde_json::to_value(old), serde_json::to_value(new)) {
        (Ok(old), Ok(new)) => compare("", &old, &new, &mut lines),
        // It can't happen: values and lists of values always fit JSON.
        _ => lines.push("the configurations can't be compared".to_owned()),
    }
    lines
}

fn compare(path: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (old, new) {
        (old, new) if old == new => {}
        (Value::Object(old), Value::Object(new)) => {
            let missing = &Value::Null;
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let of = |map: &serde_json::Map<_, _>| map.get(key).unwrap_or(missing).clone();
                compare(&below(key), &of(old), &of(new), lines);
            }
        }
        (Value::Array(old), Value::Array(new)) => match (named(old), named(new)) {
            (Some(old), Some(new)) => compare_named(&below, &old, &new, lines),
            _ => compare_lists(path, old, new, lines),
        },
        (old, new) => lines.push(format!("{path}: {} → {}", word(old), word(new))),
    }
}

/// The items by their names, if they have names.
fn named(items: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    items.iter().map(|item| Some((item.get("name")?.as_str()?, item))).collect()
}

fn compare_named(
    below: &dyn Fn(&str) -> String,
    old: &BTreeMap<&str, &Value>,
    new: &BTreeMap<&str, &Value>,
    lines: &mut Vec<String>,
) {
    for (name, item) in old {
        match new.get(name) {
            Some(other) => compare(&below(name), item, other, lines),
            None => lines.push(format!("{}: removed", below(name))),
        }
    }
    for name in new.keys().filter(|name| !old.contains_key(*name)) {
        lines.push(format!("{}: added", below(name)));
    }
}

/// How many changes of one list are shown.
const CHANGES: usize = 16;

/// Of lists, what was added and what was removed.
fn compare_lists(path: &str, old: &[Value], new: &[Value], lines: &mut Vec<String>) {
    let [old, new] = [old, new].map(|items| items.iter().map(word).collect::<Vec<_>>());
    // Lists can have thousands of values.
    let [before, after] = [&old, &new].map(|words| words.iter().collect::<HashSet<_>>());
    let gone = old.iter().filter(|word| !after.contains(word)).map(|word| format!("-{word}"));
    let come = new.iter().filter(|word| !before.contains(word)).map(|word| format!("+{word}"));
    let changes: Vec<_> = gone.chain(come).collect();
    let more = changes.len().saturating_sub(CHANGES);
    let changes = match changes.as_slice() {
        [] => "another order".to_owned(),
        changes => changes[..changes.len() - more].join(" "),
    };
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    lines.push(format!("{path}: {changes}{more}"));
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::*;

    const OLD: &str = "
interfaces: [eth0]
rules:
  - name: web
    ports: [80]
    inbound: { mode: optional, trusted: [10.0.0.0/8, 10.1.0.0/16] }
    outbound: { version: v2 }
  - name: mail
    ports: [25]
    inbound: { mode: off }
    outbound: { version: none }
";

    fn lines(new: &str) -> Vec<String> {
        between(&parse(OLD).unwrap(), &parse(new).unwrap())
    }

    #[test]
    fn the_same_is_no_difference() {
        assert!(lines(OLD).is_empty());
        assert!(lines(&OLD.replace("[80]", "[\"80\"] # as text")).is_empty());
    }

    #[test]
    fn each_field_is_named_by_its_path() {
        let new = OLD.replace("optional", "require").replace("10.1.0.0/16", "fd00::/8");
        let new = new.replace("interfaces: [eth0]", "interfaces: [eth0]\nworkers: 4");
        assert_eq!(
            lines(&new),
            [
                "rules.web.inbound.mode: optional → require",
                "rules.web.inbound.trusted: -10.1.0.0/16 +fd00::/8",
                "workers: nothing → 4",
            ]
        );
    }

    #[test]
    fn many_changes_of_a_list_are_told_by_their_number() {
        let many: Vec<_> = (0..100).map(|number| format!("10.2.0.{number}")).collect();
        let new = OLD.replace("10.1.0.0/16", &many.join(", "));
        let [line] = &lines(&new)[..] else { panic!("{:?}", lines(&new)) };
        assert!(line.starts_with("rules.web.inbound.trusted: -10.1.0.0/16 +10.2.0.0 "), "{line}");
        assert!(line.ends_with(" +10.2.0.14 and 85 more"), "{line}");
    }

    #[test]
    fn rules_come_and_go_by_name_wherever_they_stand() {
        let (head, tail) = OLD.split_once("  - name: web").unwrap();
        let (web, mail) = tail.split_once("  - name: mail").unwrap();
        let swapped = format!("{head}  - name: mail{mail}  - name: web{web}");
        assert!(lines(&swapped).is_empty(), "{:?}", lines(&swapped));
        let renamed = OLD.replace("name: mail", "name: post");
        assert_eq!(lines(&renamed), ["rules.mail: removed", "rules.post: added"]);
    }
}
