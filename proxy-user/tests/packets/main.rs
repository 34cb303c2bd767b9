//! What the programs decide on a packet, against a model of the specification.
//!
//! The real Foreword is started on a node of the lab, with connections in every state that matters.
//! Its programs are then run, as they are loaded, on generated frames by `BPF_PROG_TEST_RUN`, and each
//! verdict and counter is compared with what [`model`] says. Nothing is shared with the programs: the
//! model reads the octets by itself.
//!
//! How to read it: [`packet`] describes a frame, [`generator`] makes such descriptions by chance
//! ([`dice`]), [`render`] makes octets of them, [`simpler`] makes a failure short. [`reading`] and
//! [`model`] are the second opinion, [`world`] what it knows of the node; [`setups`] are the nodes,
//! [`stage`] starts Foreword on one, [`kernel`] runs its programs, [`campaign`] compares. [`wire`]
//! sends first packets ([`openings`]) over a cable instead, to a host that would answer.
//!
//! Frames that were written down ([`regression`]) run first. A failure says how to have it again:
//! `FOREWORD_PACKETS_SEED` is what frames are made from, `FOREWORD_PACKETS_FIRST` the first one's
//! number, `FOREWORD_PACKETS` how many each setup gets; or `FOREWORD_PACKETS_SECONDS`, for how long.

#![allow(
    clippy::cast_possible_truncation,
    reason = "octets are cut out of numbers, and lengths are those of frames"
)]

#[macro_use]
extern crate netlab;

mod campaign;
mod dice;
mod generator;
mod kernel;
mod model;
mod openings;
mod packet;
mod reading;
mod regression;
mod render;
mod setups;
mod simpler;
mod stage;
mod wire;
mod world;

use std::env;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlab::{Family, hooks};

use campaign::Decoded;
use generator::Pools;
use stage::Stage;
use world::{Setup, World};

/// The binary under test.
const FOREWORD: netlab::Binary = netlab::Binary::at(env!("CARGO_BIN_EXE_foreword"));

/// Frames for each setup, unless it is said otherwise.
const PACKETS: u64 = 100_000;
/// What they are made from, unless it is said otherwise.
const SEED: u64 = 0x0f0e_0d0c;

fn setting(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {value:?}")))
}

#[apply(lab_test)]
fn verdicts_with_the_guard_in_tc() {
    judge(setups::guard_in_tc("auto"));
}

#[apply(lab_test)]
fn verdicts_with_the_guard_in_xdp() {
    judge(setups::guard_in_xdp("auto"));
}

#[apply(lab_test)]
fn verdicts_where_no_rule_restricts() {
    judge(setups::open("auto"));
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

/// Where a frame lies in memory is its sender's choice on a veth, and the driver's elsewhere.
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

/// Judges the programs of a node on as many frames as was said.
#[track_caller]
fn judge(setup: Setup) {
    let seed = setting("FOREWORD_PACKETS_SEED").unwrap_or(SEED);
    let first = setting("FOREWORD_PACKETS_FIRST").unwrap_or(0);
    let seconds = setting("FOREWORD_PACKETS_SECONDS").map(Duration::from_secs);
    let enough = if seconds.is_some() { u64::MAX - first } else { PACKETS };
    let packets = setting("FOREWORD_PACKETS").unwrap_or(enough);
    let mut stage = Stage::set(setup);
    let pools = pools(&stage.world);
    let wrong = stage.lab.node.run(|| regression::replay(&stage));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let decoded = stage.lab.node.run(|| {
        let deadline = seconds.map(|seconds| Instant::now() + seconds);
        campaign::run(&stage, &pools, seed, first..first + packets, deadline)
    });
    say(stage.world.setup.name, &decoded);
    let disagreements: Vec<_> = decoded.disagreements.iter().map(ToString::to_string).collect();
    assert!(disagreements.is_empty(), "\n{}", disagreements.join("\n"));
    stage.assert_flows_live();
}

/// The addresses of the lab, and those around which something changes.
fn pools(world: &World) -> Pools {
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
    Pools::of(world, &sources, &destinations)
}

/// Says what was judged.
fn say(setup: &str, decoded: &Decoded) {
    let mut verdicts: Vec<_> = decoded.verdicts.iter().collect();
    verdicts.sort_by_key(|(key, _)| format!("{key:?}"));
    for ((program, verdict), count) in verdicts {
        note(&format!("{setup:<5} {count:>9} {program:?} {verdict}"));
    }
    note(&format!("{setup:<5} {:>9} runs", decoded.runs));
}

/// Writes a line for whoever looks at a test's output. Past the harness's capture it would stand
/// between a test's name and its result, where those who read these look for the latter.
fn note(line: &str) {
    println!("{line}");
}
