//! A configuration: any text, read, judged, and put into words.
//!
//! An input is a file's text.

use foreword::config::value::Position;
use foreword::config::{Invalid, RawConfig, Settings, Syntax, difference, explain, file, validate};

use serde_json::Value;

use super::words::check_line;

/// Checks one input.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut raw = match file::parse(text) {
        Ok(raw) => raw,
        Err(misread) => {
            check_line(&misread.to_string());
            return check_place(text, misread.position);
        }
    };
    // The order in which a map of JSON comes.
    for rule in &mut raw.rules {
        rule.outbound.tlvs.add.sort_by_key(|tlv| tlv.key.clone());
    }
    let again = check_written(&raw);
    match validate(&raw, Syntax::File) {
        Ok(settings) => check_settings(&settings, &again),
        Err(invalid) => check_refusal(text, &invalid),
    }
}

/// What was read can be written, and reads as the same. JSON is YAML as well.
fn check_written(raw: &RawConfig) -> RawConfig {
    let mut words = serde_json::to_value(raw).expect("words can be written");
    for (rule, written) in raw.rules.iter().zip(words["rules"].as_array_mut().into_iter().flatten())
    {
        // These are compared as they were written, each in one word, and read as a map.
        let added = rule.outbound.tlvs.add.iter();
        let added = added.map(|tlv| (tlv.key.clone(), tlv.value.clone().into()));
        written["outbound"]["tlvs"]["add"] = Value::Object(added.collect());
    }
    let again = file::parse(&words.to_string()).expect("what was written can be read");
    assert_eq!(difference::between(raw, &again), [""; 0]);
    again
}

/// Text that was written back means what the original did, and each of its facts can be explained.
fn check_settings(settings: &Settings, again: &RawConfig) {
    let same = validate(again, Syntax::File).expect("the same words are as valid");
    assert_eq!(*settings, same);
    for line in explain::explain(settings) {
        check_line(&line);
    }
    assert!(!settings.rules.is_empty() && !settings.steering.interfaces.is_empty());
    for rule in &settings.rules {
        assert!(rule.ports.iter().next().is_some(), "{} is for no port", rule.name);
        assert!(!rule.ports.contains(0));
    }
}

/// A refusal names the field and the fix, and what it points at is in the text.
fn check_refusal(text: &str, invalid: &Invalid) {
    let line = invalid.to_string();
    check_line(&line);
    let named = match invalid {
        Invalid::Missing { field, fix, .. } | Invalid::Value { field, fix, .. } => [field, fix],
        Invalid::Range { field, .. } => [field, field],
        Invalid::TrustsNobody { wanted, everybody, .. } => [wanted, everybody],
    };
    for part in named {
        assert!(!part.is_empty() && line.contains(part.as_str()), "{part:?} is not in {line:?}");
    }
    check_place(text, invalid.position());
}

fn check_place(text: &str, position: Option<Position>) {
    let Some(Position { line, column }) = position else { return };
    // Behind the last line is a place as well: something is missing there.
    let lines = text.split(['\n', '\r']).count() as u64;
    assert!((1..=lines + 1).contains(&line), "line {line} of {lines}");
    assert!(column >= 1, "columns count from 1");
}
