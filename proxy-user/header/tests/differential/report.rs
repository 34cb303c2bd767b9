//! `DISAGREEMENTS.md`: the list of classes as a table in Markdown.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use crate::answer::Library;
use crate::listed::LISTED;

const INTRODUCTION: &str = "\
<!-- Written by `BLESS=1 cargo test --package proxy-header --test differential`. -->

Where the crates `ppp` 2.3 and `proxy-protocol-rs` 0.8 disagree with Foreword about a header, over
generated and damaged ones, and the rule that settles it.

| bytes | who disagrees | does | Foreword | rule | for example |
|---|---|---|---|---|---|
";

fn table() -> String {
    let mut text = INTRODUCTION.to_owned();
    for class in LISTED {
        let (theirs, ours) = class.effect.words();
        let rules = class.rules.iter().map(|rule| format!("pp{rule:02}")).collect::<Vec<_>>();
        let libraries = class.libraries.iter().map(Library::to_string).collect::<Vec<_>>();
        let (libraries, rules) = (libraries.join(", "), rules.join(", "));
        let (what, example) = (class.what, &class.example);
        writeln!(text, "| {what} | {libraries} | {theirs} | {ours} | {rules} | {example} |")
            .expect("writing to a String does not fail");
    }
    text
}

/// Compares the file with what it should be, or makes it that.
pub fn compare_or_bless() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/DISAGREEMENTS.md");
    let current = table();
    if env::var_os("BLESS").is_some() {
        return fs::write(path, current).expect("the file can be written");
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == current, "DISAGREEMENTS.md is not current; BLESS=1 rewrites it");
}
