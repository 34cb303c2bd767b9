//! Foreword's decoder against two others, over generated and damaged headers.
//!
//! Each disagreement has to be of a class that [`listed`] names, with the rule that settles it, and
//! each class has to occur. `DISAGREEMENTS.md` is that list for readers; with `BLESS=1` in the
//! environment the test rewrites it.

mod answer;
mod disagreement;
mod input;
mod listed;
mod report;

use std::collections::BTreeMap;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use proxy_common::Reason;

use answer::{Answer, Library, ask_foreword};
use disagreement::Disagreement;
use listed::{Class, LISTED};

/// How many inputs are generated; always the same ones.
const INPUTS: usize = 20_000;

fn inputs() -> impl Iterator<Item = Vec<u8>> {
    let mut runner = TestRunner::deterministic();
    let strategy = input::any_input();
    let generate = move || strategy.new_tree(&mut runner).expect("no strategy here filters");
    std::iter::repeat_with(generate).map(|tree| tree.current()).take(INPUTS)
}

/// The numbers of the classes that a disagreement is of.
fn classes(it: &Disagreement) -> Vec<usize> {
    let contains = |(_, class): &(usize, &Class)| class.contains(it);
    LISTED.iter().enumerate().filter(contains).map(|(number, _)| number).collect()
}

#[test]
fn every_disagreement_is_listed_and_every_listed_one_occurs() {
    let mut occurred: BTreeMap<(usize, Library), usize> = BTreeMap::new();
    let mut accepted = 0;
    let mut unlisted = Vec::new();
    for bytes in inputs() {
        accepted += usize::from(matches!(ask_foreword(&bytes).0, Answer::Accepts(_)));
        for it in Library::ALL.iter().filter_map(|library| Disagreement::about(*library, &bytes)) {
            match classes(&it)[..] {
                [class] => *occurred.entry((class, it.library)).or_default() += 1,
                ref classes => unlisted.push(format!("of {} classes: {it}", classes.len())),
            }
        }
    }
    assert!(unlisted.is_empty(), "not of exactly one class:\n{}", unlisted.join("\n"));
    for (number, class) in LISTED.iter().enumerate() {
        for library in class.libraries {
            let times = occurred.get(&(number, *library)).copied().unwrap_or_default();
            println!("{times:6} times: {library}, {}", class.what);
            assert!(times > 0, "{library}, {}: does not occur; remove it", class.what);
        }
    }
    assert!(accepted > INPUTS / 4, "only {accepted} of {INPUTS} inputs are valid headers");
}

#[test]
fn every_example_shows_its_class() {
    for (number, class) in LISTED.iter().enumerate() {
        let example = class.example.bytes();
        for library in class.libraries {
            let it = Disagreement::about(*library, &example);
            let it = it.unwrap_or_else(|| panic!("{library} agrees on {}", example.escape_ascii()));
            assert_eq!(classes(&it), [number], "{it}");
            if let Some(rule) = it.reason.and_then(Reason::rule) {
                assert!(class.rules.contains(&rule), "pp{rule:02} is the rule for {it}");
            }
        }
    }
}

#[test]
fn the_list_for_readers_is_current() {
    report::compare_or_bless();
}
