//! What `foreword check` says of a valid configuration besides what each rule will do.

use std::fs;

use tempfile::TempDir;

use crate::foreword;

/// What it says of one rule, whose trusted sources and outbound settings are these.
fn said(trusted: &str, outbound: &str) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("config.yaml");
    let text = format!(
        "interfaces: [eth0]\nrules:\n  - name: web\n    ports: [80]\n    \
         inbound: {{ mode: require, trusted: [{trusted}] }}\n    outbound: {{ {outbound} }}\n"
    );
    fs::write(&path, text).unwrap();
    let run = foreword(&["check", path.to_str().unwrap()], b"");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    run.stdout
}

#[test]
fn a_header_that_may_not_fit_one_segment_is_warned_of() {
    let adding = |length: usize| {
        let name = "a".repeat(length);
        said("10.0.0.1", &format!("version: v2, tlvs: {{ add: {{ authority: {name} }} }}"))
    };
    // Sixteen bytes, 36 of IPv6 addresses, three before the name.
    assert!(!adding(536 - 16 - 36 - 3).contains("warning"));
    let warned = adding(536 - 16 - 36 - 3 + 1);
    let words = "warning      rule web: the header that its upstream gets has up to 537 bytes";
    assert!(warned.contains(words) && warned.contains("outbound.tlvs.add"), "{warned}");
}

#[test]
fn a_long_list_is_named_by_its_beginning_and_its_length() {
    let many: Vec<_> =
        (0..20_u32).flat_map(|a| (0..250).map(move |b| format!("10.0.{a}.{b}"))).collect();
    let said = said(&many.join(", "), "version: none");
    assert!(said.contains("10.0.0.7/32, and 4992 more; others get no answer"), "{said}");
    assert!(said.len() < 2000, "{} bytes", said.len());
}

#[test]
fn what_local_becomes_is_said_where_it_is_not_local() {
    let words = "load balancers' own connections (LOCAL) as this node's";
    assert!(said("10.0.0.1", "version: v2, local: proxy").contains(words));
    assert!(!said("10.0.0.1", "version: v2").contains("LOCAL"));
}
