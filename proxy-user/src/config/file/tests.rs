//! What is read, and where a mistake is said to be.

use super::*;
use crate::config::{Syntax, validate};

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
    assert_eq!(tlvs.pass.as_ref().unwrap().len(), 2);
}

#[test]
fn the_schema_knows_every_key() {
    let schema = serde_json::to_string(&schema()).unwrap();
    for key in ["interfaces", "drainTimeout", "synPerSecondPerSource", "uniqueId", "whenAbsent"] {
        assert!(schema.contains(key), "{key}");
    }
    assert!(schema.contains("\"additionalProperties\":false"));
}

#[test]
fn what_has_to_be_written_is_asked_for_with_its_rule_and_what_to_write() {
    let refused = |from: &str, to: &str| {
        let invalid =
            validate(&parse(&LEAST.replace(from, to)).unwrap(), Syntax::File).unwrap_err();
        (invalid.to_string(), invalid.position().map(|position| (position.line, position.column)))
    };
    let web = Some((4, 11));
    let missing = |text: &str, position| (text.to_owned(), position);
    assert_eq!(
        refused("mode: require, ", ""),
        missing("rule web: inbound.mode is missing; write require, optional or off", web)
    );
    assert_eq!(
        refused("    outbound: { version: v2 }\n", ""),
        missing("rule web: outbound.version is missing; write v1, v2 or none", web)
    );
    assert_eq!(
        refused("    ports: [80, 8000-8010]\n", ""),
        missing(
            "rule web: ports is missing; name the ports to protect, such as [80, 443] or [8000-8010]",
            web
        )
    );
    assert_eq!(
        refused("name: web\n    ports", "ports"),
        missing("rule 1: name is missing; give each rule a name of its own", None)
    );
    let fix = "name the interface that load-balancer traffic arrives on, such as eth0";
    assert_eq!(
        refused("interfaces: [eth0]\n", ""),
        missing(&format!("interfaces is missing; {fix}"), None)
    );
}

#[test]
fn tlvs_to_pass_may_stand_alone_and_know_where() {
    let passing = |text: &str| {
        let raw =
            parse(&LEAST.replace("version: v2", &format!("version: v1, tlvs: {{ pass: {text} }}")));
        validate(&raw.unwrap(), Syntax::File).unwrap_err()
    };
    for text in ["none", "5", "[0xEA]"] {
        let refused = passing(text);
        let position = refused.position().unwrap();
        let column = if text.starts_with('[') { 45 } else { 44 };
        assert_eq!((position.line, position.column), (7, column), "{refused}");
    }
}

#[test]
fn the_schema_requires_what_validation_requires() {
    let schema = schema().to_value();
    let required = |place: &str| schema.pointer(place).unwrap()["required"].to_string();
    assert_eq!(required(""), r#"["interfaces","rules"]"#);
    assert_eq!(required("/$defs/RawRule"), r#"["name","ports","inbound","outbound"]"#);
    assert_eq!(required("/$defs/RawInbound"), r#"["mode"]"#);
    assert_eq!(required("/$defs/RawOutbound"), r#"["version"]"#);
}

/// A file can hold any character, and a refusal is a line on a terminal or in a log.
#[test]
fn a_refusal_is_one_line_whatever_was_written() {
    let bad_name =
        r#"{name: "a\nb\e[2J", ports: [1], inbound: {mode: "off"}, outbound: {version: v1}}"#;
    let raw = parse(&format!("interfaces: [eth0]\nrules: [{bad_name}]\n")).unwrap();
    let refused = validate(&raw, Syntax::File).unwrap_err().to_string();
    let said = r"rule a\nb\u{1b}[2J: name 'a\nb\u{1b}[2J' is not valid";
    assert!(refused.starts_with(said), "{refused}");
    let misread = parse(r#""\e[2J": 1"#).unwrap_err().to_string();
    assert!(misread.starts_with(r"unknown key '\u{1b}[2J'"), "{misread}");
}
