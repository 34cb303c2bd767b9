//! Compares what the programs decide about packets with a model of the specification.
//!
//! Foreword is started on a node of the lab, with connections in every state that matters. Its
//! loaded programs then run on generated frames (`BPF_PROG_TEST_RUN`), and each verdict and counter
//! is compared with the [`model`]. The model shares no code with the programs: it parses the bytes
//! by itself.
//!
//! - A frame: [`packet`] describes it, [`generator`] makes random descriptions ([`rng`]),
//!   [`render`] turns them into bytes, and [`shrink`] simplifies a failure.
//! - The expectation: [`parse`] and [`model`], by the [`facts`] about the node.
//! - The node: [`setups`] lists its configurations, [`node`] starts Foreword on it, [`kernel`] runs
//!   the programs, and [`campaign`] compares the results.
//! - [`wire`] instead sends SYNs over a cable to a host that would answer, each wrapped in some
//!   unusual way ([`wrapped_syn`]).
//!
//! Recorded frames ([`regression`]) run first. A failure says how to reproduce it:
//! `FOREWORD_PACKETS_SEED` is the seed, `FOREWORD_PACKETS_FIRST` the number of the first frame, and
//! `FOREWORD_PACKETS` how many frames each setup gets; `FOREWORD_PACKETS_SECONDS` limits the time
//! instead.

#![allow(
    clippy::cast_possible_truncation,
    reason = "bytes are cut out of numbers, and frames are short"
)]

#[macro_use]
extern crate netlab;

mod campaign;
mod facts;
mod generator;
mod kernel;
mod model;
mod node;
mod packet;
mod parse;
mod regression;
mod render;
mod rng;
mod setups;
mod shrink;
mod wire;
mod wrapped_syn;

use std::env;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlab::{Family, hooks};

use campaign::Outcome;
use facts::{NodeFacts, Setup};
use generator::Pools;
use node::TestNode;

/// The binary under test.
const FOREWORD: netlab::Binary = netlab::Binary::at(env!("CARGO_BIN_EXE_foreword"));

/// Frames for each setup, unless `FOREWORD_PACKETS` says otherwise.
const PACKETS: u64 = 100_000;
/// The seed, unless `FOREWORD_PACKETS_SEED` says otherwise.
const SEED: u64 = 0x0f0e_0d0c;

fn setting(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {value:?}")))
}

#[apply(lab_test)]
fn verdicts_with_the_guard_in_tc() {
    check(setups::guard_in_tc("auto"));
}

#[apply(lab_test)]
fn verdicts_with_the_guard_in_xdp() {
    check(setups::guard_in_xdp("auto"));
}

#[apply(lab_test)]
fn verdicts_where_no_rule_restricts() {
    check(setups::open("auto"));
}

#[apply(lab_test)]
fn the_host_never_answers_past_tcx() {
    if hooks().contains(&"tcx") {
        wire::the_host_never_answers("tcx", false);
    }
}

#[apply(lab_test)]
fn the_host_never_answers_past_clsact() {
    wire::the_host_never_answers("clsact", false);
}

/// Where a frame's bytes are in memory depends on its sender on a veth, and on the driver
/// elsewhere.
#[apply(lab_test)]
fn the_host_never_answers_what_lies_in_pages() {
    wire::the_host_never_answers("auto", true);
}

#[apply(lab_test)]
fn a_hold_never_lets_the_host_answer_past_tcx() {
    if hooks().contains(&"tcx") {
        wire::a_hold_never_lets_the_host_answer("tcx");
    }
}

#[apply(lab_test)]
fn a_hold_never_lets_the_host_answer_past_clsact() {
    wire::a_hold_never_lets_the_host_answer("clsact");
}

/// Checks the programs of a node on as many frames as the environment asks for.
#[track_caller]
fn check(setup: Setup) {
    let seed = setting("FOREWORD_PACKETS_SEED").unwrap_or(SEED);
    let first = setting("FOREWORD_PACKETS_FIRST").unwrap_or(0);
    let seconds = setting("FOREWORD_PACKETS_SECONDS").map(Duration::from_secs);
    let enough = if seconds.is_some() { u64::MAX - first } else { PACKETS };
    let packets = setting("FOREWORD_PACKETS").unwrap_or(enough);
    let mut node = TestNode::start(setup);
    let pools = pools(&node.facts);
    let wrong = node.lab.node.run(|| regression::replay(&node));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let outcome = node.lab.node.run(|| {
        let deadline = seconds.map(|seconds| Instant::now() + seconds);
        campaign::run(&node, &pools, seed, first..first + packets, deadline)
    });
    print_outcome(node.facts.setup.name, &outcome);
    let disagreements: Vec<_> = outcome.disagreements.iter().map(ToString::to_string).collect();
    assert!(disagreements.is_empty(), "\n{}", disagreements.join("\n"));
    node.assert_flows_live();
}

/// The addresses of the lab, and those next to a boundary.
fn pools(facts: &NodeFacts) -> Pools {
    let parse = |all: &[&str]| -> Vec<IpAddr> {
        all.iter().map(|it| it.parse().expect("an address")).collect()
    };
    let mut sources = parse(&[
        "127.0.0.1",
        "127.8.9.1",
        "126.255.255.255",
        "128.0.0.0",
        "0.0.0.0",
        "::1",
        "::2",
        "::",
        "::ffff:10.77.1.2",
        "::ffff:127.0.0.1",
        "fd77:1::3:2",
    ]);
    let mut destinations = parse(&[
        "10.77.1.255",
        "255.255.255.255",
        "127.0.0.1",
        "::1",
        "ff02::1",
        "::ffff:203.0.113.10",
    ]);
    for family in Family::BOTH {
        for _ in 0..4 {
            sources.extend([family.lb(), family.stranger()]);
            destinations.extend([family.vip(), family.node()]);
        }
        sources.push(family.backend());
        destinations.push(family.backend());
    }
    sources.extend(setups::exhausted_sources());
    sources.extend(setups::exhausted_sources());
    Pools::of(facts, &sources, &destinations)
}

/// Prints what was compared.
fn print_outcome(setup: &str, outcome: &Outcome) {
    let mut verdicts: Vec<_> = outcome.verdicts.iter().collect();
    verdicts.sort_by_key(|(key, _)| format!("{key:?}"));
    for ((program, verdict), count) in verdicts {
        print_line(&format!("{setup:<5} {count:>9} {program:?} {verdict}"));
    }
    print_line(&format!("{setup:<5} {:>9} runs", outcome.runs));
}

/// Prints a line that the test harness captures. Uncaptured, it would stand between a test's name
/// and its result and break the tools that read both.
fn print_line(line: &str) {
    println!("{line}");
}
