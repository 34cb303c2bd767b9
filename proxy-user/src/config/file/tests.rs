//! What is read, and where a mistake is said to be.

use super::*;
use crate::config::{Written, validate};

const LEAST: &str = "
interfaces: [eth0]
rules:
  - name: web
    ports: [80, 8000-8010]
    inbound: { mode: require, trusted: [10.0.0.0/8] }
    outbound: { version: v2 }
";

fn misread(text: &str) -> (String, Option<(u64, u64)>) {
    let misread = parse(text).unwrap_err();
    let position = misread.position.map(|position| (position.line, position.column));
    (misread.to_string(), position)
}

#[test]
fn numbers_are_words_and_the_rest_has_its_default() {
    let config = parse(LEAST).unwrap();
    let rule = &config.rules[0];
    let ports: Vec<_> = rule.ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["80", "8000-8010"]);
    assert_eq!(&*rule.upstream.address, "original");
    assert_eq!(&*config.drain_timeout, "30s");
    let position = rule.inbound.trusted[0].position().unwrap();
    assert_eq!((position.line, position.column), (6, 41));
}

#[test]
fn a_key_that_is_not_known_is_refused_with_the_nearest_one() {
    let (message, position) = misread(&LEAST.replace("trusted:", "trustd:"));
    assert_eq!(message, "unknown key 'trustd'; did you mean 'trusted'?");
    assert_eq!(position, Some((6, 31)));
    let (message, position) = misread(&LEAST.replace("interfaces:", "xyz: 1\ninterfaces:"));
    assert!(message.starts_with("unknown key 'xyz'; there are interfaces, "), "{message}");
    assert_eq!(position, Some((2, 1)));
}

#[test]
fn what_is_missing_or_of_another_shape_is_refused() {
    let (message, _) = misread(&LEAST.replace("    ports: [80, 8000-8010]\n", ""));
    assert_eq!(message, "ports is missing here");
    let (message, position) = misread(&LEAST.replace("[eth0]", "eth0"));
    assert_eq!((message.as_str(), position), ("expected sequence start", Some((2, 13))));
    let (message, _) = misread(&LEAST.replace("interfaces", "interfaces: [eth1]\ninterfaces"));
    assert!(message.starts_with("duplicate mapping key: interfaces"), "{message}");
    assert_eq!(misread("").0, "the file is empty; write interfaces and rules");
}

#[test]
fn tlvs_are_added_by_a_map() {
    let tlvs = "outbound: { version: v2, tlvs: { pass: [0xEA, 5], add: { uniqueId: true, \
                authority: example.org, \"0xE5\": text } } }";
    let config = parse(&LEAST.replace("outbound: { version: v2 }", tlvs)).unwrap();
    let tlvs = &config.rules[0].outbound.tlvs;
    let added: Vec<_> =
        tlvs.add.iter().map(|added| (added.key.as_str(), added.value.as_str())).collect();
    assert_eq!(added, [("uniqueId", "true"), ("authority", "example.org"), ("0xE5", "text")]);
    assert_eq!(tlvs.pass.0.len(), 2);
}

#[test]
fn the_schema_knows_every_key() {
    let schema = serde_json::to_string(&schema()).unwrap();
    for key in ["interfaces", "drainTimeout", "synPerSecondPerSource", "uniqueId", "whenAbsent"] {
        assert!(schema.contains(key), "{key}");
    }
    assert!(schema.contains("\"additionalProperties\":false"));
}

/// A file can hold any character, and a refusal is a line on a terminal or in a log.
#[test]
fn a_refusal_is_one_line_whatever_was_written() {
    let bad_name =
        r#"{name: "a\nb\e[2J", ports: [1], inbound: {mode: "off"}, outbound: {version: v1}}"#;
    let raw = parse(&format!("interfaces: [eth0]\nrules: [{bad_name}]\n")).unwrap();
    let refused = validate(&raw, Written::File).unwrap_err().to_string();
    let said = r"rule a\nb\u{1b}[2J: name 'a\nb\u{1b}[2J' is not valid";
    assert!(refused.starts_with(said), "{refused}");
    let misread = parse(r#""\e[2J": 1"#).unwrap_err().to_string();
    assert!(misread.starts_with(r"unknown key '\u{1b}[2J'"), "{misread}");
}
