//! `CONFORMANCE.md`: what was found, as Markdown.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use netlab::Family;

use crate::cases::{self, Case};
use crate::peers::{Column, Finding};
use crate::rules::{RULES, UNSPOKEN, WITHOUT_CASES};

const INTRODUCTION: &str = "\
<!-- Written by `BLESS=1 cargo test --package proxy-user --test conformance`, as root. -->

# Conformance

The rules of the PROXY protocol (edition of 2026-04-27) by number, and how Foreword and two receivers
from Debian keep them. Every case is sent over IPv4 and IPv6, in one segment, and again in two, cut at
every byte. A rule is kept if all its cases are answered as the rule asks for.

";

const LEGEND: &str = "
`yes`: every case, however it is split. `whole`: every case as long as it comes in one segment.
`2 of 5`: that many cases, in one segment. `tested`: no inbound header can show it; what Foreword
writes has tests of its own, and the receivers are not asked. `not spoken`: a rule of the protocol's
UDP form. Where a rule asks for an end at once (pp15, pp18, pp21, pp22, pp25, pp29, pp32), waiting for
more counts as a difference, though a deadline may end it later. HAProxy and nginx have no word for
LOCAL here: real addresses are right.

";

/// Writes the file, or asserts that it is what would be written.
pub fn compare_or_bless(columns: &[Column]) {
    let path = root().join("CONFORMANCE.md");
    let current = document(columns);
    if env::var_os("BLESS").is_some() {
        return fs::write(path, current).expect("the file can be written");
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    if let Some((old, new)) = written.lines().zip(current.lines()).find(|(old, new)| old != new) {
        panic!("CONFORMANCE.md is not current; BLESS=1 rewrites it\n  is: {old}\n now: {new}");
    }
    assert!(written == current, "CONFORMANCE.md is not current; BLESS=1 rewrites it");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document(columns: &[Column]) -> String {
    let table = cases::all(Family::V4);
    let mut text = INTRODUCTION.to_owned();
    text += &rules(&table, columns);
    text += LEGEND;
    text += &differences(&table, columns);
    text += &splits(&table, columns);
    text += &included("Other decoders", "header/tests/differential/DISAGREEMENTS.md");
    text += &included("Fuzzing", "fuzz/RUNS.md");
    text.trim_end().to_owned() + "\n"
}

fn heading(first: &[&str], columns: &[Column]) -> String {
    let names = columns.iter().map(|column| column.name.as_str());
    let cells: Vec<_> = first.iter().copied().chain(names).collect();
    format!("{}|{}\n", row(&cells), "---|".repeat(cells.len()))
}

fn row(cells: &[impl AsRef<str>]) -> String {
    let cells = cells.iter().fold(String::new(), |all, cell| all + " " + cell.as_ref() + " |");
    format!("|{cells}\n")
}

/// One row for each rule.
fn rules(table: &[Case], columns: &[Column]) -> String {
    let mut text = heading(&["rule", "says"], columns);
    for (rule, gist) in RULES {
        let verdicts = columns.iter().enumerate().map(|(index, column)| {
            let (without, unspoken) = (WITHOUT_CASES.contains(&rule), UNSPOKEN.contains(&rule));
            match index {
                0 if unspoken => "not spoken".to_owned(),
                0 if without => "tested".to_owned(),
                _ if without || unspoken => "–".to_owned(),
                _ => verdict(table, column, rule),
            }
        });
        let cells: Vec<_> =
            [format!("pp{rule:02}"), gist.to_owned()].into_iter().chain(verdicts).collect();
        text += &row(&cells);
    }
    text
}

/// A column's findings about one rule in a word or three.
fn verdict(table: &[Case], column: &Column, rule: u8) -> String {
    let of_rule = || {
        let rows = table.iter().zip(&column.findings);
        rows.filter(move |(case, _)| case.rule == rule).map(|(_, findings)| findings)
    };
    let all = of_rule().count();
    let right = of_rule().filter(|both| both.iter().all(|one| one.is_right)).count();
    if right < all {
        return format!("{right} of {all}");
    }
    let is_split = of_rule().flatten().any(|one| !one.holds_split);
    if is_split { "whole".to_owned() } else { "yes".to_owned() }
}

/// The cases that some receiver answers in another way than the rule asks for.
fn differences(table: &[Case], columns: &[Column]) -> String {
    let mut text = "## Differences\n\n".to_owned();
    text += &heading(&["rule", "bytes", "the rule"], columns);
    for (index, case) in table.iter().enumerate() {
        let both = columns.iter().map(|column| &column.findings[index]);
        if both.clone().flatten().all(|finding| finding.is_right) {
            continue;
        }
        let start =
            [format!("pp{:02}", case.rule), case.name.to_owned(), case.expected.to_string()];
        let cells: Vec<_> = start.into_iter().chain(both.map(in_words)).collect();
        text += &row(&cells);
    }
    text + "\n"
}

/// One answer where both families agree, else both.
fn in_words(both: &[Finding; 2]) -> String {
    let word = |finding: &Finding| {
        if finding.is_right { "as the rule".to_owned() } else { finding.answer.to_string() }
    };
    let [v4, v6] = both.each_ref().map(word);
    if v4 == v6 { v4 } else { format!("IPv4: {v4}; IPv6: {v6}") }
}

/// How many cases get another answer when they come in two segments.
fn splits(table: &[Case], columns: &[Column]) -> String {
    let mut text = "## In two segments\n\n".to_owned();
    for column in columns {
        let rows = || table.iter().zip(&column.findings);
        let differ = rows().filter(|(_, both)| both.iter().any(|one| !one.holds_split));
        let rules: BTreeSet<_> =
            differ.clone().map(|(case, _)| format!("pp{:02}", case.rule)).collect();
        let (count, all, name) = (differ.count(), table.len(), &column.name);
        let rules = rules.into_iter().collect::<Vec<_>>().join(", ");
        let rules = if rules.is_empty() { rules } else { format!(": {rules}") };
        writeln!(text, "- {name}: {count} of {all} cases get another answer if split{rules}")
            .expect("writing to a String does not fail");
    }
    text + "\n"
}

/// A file of the package, below a heading of its own; its comments and its own title are left out.
fn included(title: &str, file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(path).expect("the file is part of the package");
    let is_content = |line: &&str| !line.starts_with("<!--") && !line.starts_with("# ");
    let content = text.lines().filter(is_content).collect::<Vec<_>>().join("\n");
    format!("## {title}\n\nFrom `proxy-user/{file}`.\n\n{}\n\n", content.trim())
}
