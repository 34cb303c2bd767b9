//! As many ranges as a configuration may have, and one more; reloads of them, and reloads that the
//! kernel's maps do not take.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use netlab::{Config, ConfigFile, Family, PATIENCE, Rule, lab, output_of, wait_until};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proxy_common::capacity::{MAX_DESTINATIONS, MAX_SOURCES};
use serde_json::Value;

use crate::FOREWORD;
use crate::config_file::wait_for;
use crate::fault::{self, Call, Consequence, During, Fault, Running};
use crate::flood::say;
use crate::footprint::descriptor_ids;
use crate::probe::{assert_served, cleanup, echoes};

/// A file of megabytes, on a busy machine, in a build without optimisation.
const LONG_READING: Duration = Duration::from_secs(60);

/// A rule that trusts so many ranges, the last of them the load balancer's.
fn trusting(name: impl Display, ports: impl Display, ranges: usize) -> Rule {
    let range = |number: usize| {
        let (high, low) = (number / 256, number % 256);
        format!("172.{}.{}.{low}", 16 + high / 256, high % 256)
    };
    let load_balancer = ["10.77.1.2", "fd77:1::2"].map(str::to_owned);
    let trusted = (0..ranges - 2).map(range).chain(load_balancer);
    Rule::new(name, ports).inbound("require", trusted).outbound("v1")
}

/// Rules that each trust so many ranges, with ports from 80 on.
fn config(rules: usize, ranges: usize, idle_seconds: usize) -> Config {
    let rule = |number: usize| {
        let rule = trusting(format!("r{number}"), 80 + number, ranges);
        rule.with(format!("idleTimeout: {idle_seconds}s"))
    };
    Config::on("eth0").rules((0..rules).map(rule))
}

/// How many entries the map has.
fn count(id: &str) -> usize {
    let mut command = Command::new("bpftool");
    command.args(["--json", "map", "dump", "id", id]);
    // Megabytes, which would take long to be understood.
    output_of(command).matches("\"formatted\":").count()
}

fn assert_reloads(rules: usize, ranges: usize, times: usize) {
    let lab = lab();
    let backends = echoes(&lab);
    let file = ConfigFile::saying(config(rules, ranges, 9));
    let foreword = FOREWORD.run(&lab.node, &file);
    for number in 0..times {
        file.say(config(rules, ranges, 10 + number));
        let is_reloaded = || foreword.output().matches("reloaded:").count() > number;
        wait_until(LONG_READING, "a reload", is_reloaded).expect("it is reloaded");
        for (family, backend) in Family::BOTH.into_iter().zip(&backends) {
            assert_served(&lab, backend, family);
        }
    }
    let output = foreword.output();
    assert!(!output.contains("not reloaded"));
    let trust = map_id(foreword.pid(), "foreword_trust");
    let is_one = || count(&trust) == rules * ranges;
    wait_until(LONG_READING, "one generation", is_one).expect("what was before is cleared away");
}

#[apply(lab_test)]
fn nine_thousand_ranges_are_reloaded() {
    assert_reloads(400, 23, 3);
}

#[apply(lab_test)]
fn as_many_ranges_as_there_may_be_are_reloaded() {
    assert_reloads(16, MAX_SOURCES / 16, 2);
}

/// `check`, a start and a reload say the same, and the run goes on.
fn assert_refused_everywhere(good: &Config, bad: &Config, words: &str) {
    let lab = lab();
    let backends = echoes(&lab);
    let config = ConfigFile::saying(bad);
    for command in [&["check"][..], &["run", "-c"]] {
        let mut refused = FOREWORD.command(&lab.node);
        refused.args(command).arg(config.path());
        let output = refused.output().expect("it is there");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{command:?}");
        assert!(message.contains(words), "{command:?}: {message}");
    }
    config.say(good);
    let foreword = FOREWORD.run(&lab.node, &config);
    config.say(bad);
    wait_for(&foreword, "not reloaded", 1);
    assert!(foreword.output().contains(words), "{}", foreword.output());
    for (family, backend) in Family::BOTH.into_iter().zip(&backends) {
        assert_served(&lab, backend, family);
    }
}

#[apply(lab_test)]
fn one_range_more_is_refused_in_words_everywhere() {
    let with = |ranges: usize| Config::on("eth0").rule(trusting("web", 80, ranges));
    let words = format!(
        "inbound.trusted 'fd77:1::2' is not valid; name fewer or wider ranges: there is room for \
         {MAX_SOURCES} ranges of sources, of all rules together"
    );
    assert_refused_everywhere(&with(4), &with(MAX_SOURCES + 1), &words);
}

#[apply(lab_test)]
fn one_destination_more_is_refused_in_words_everywhere() {
    let with = |last: usize| {
        let rule = trusting("web", format!("80-{last}"), 4);
        Config::on("eth0").rule(rule.with("destinations: [203.0.113.0/24, '::/0']"))
    };
    let last = 80 + MAX_DESTINATIONS / 2 - 1;
    let words = format!(
        "destinations '::/0' is not valid; name fewer ports or wider ranges: each port with \
         each range is an entry, and there is room for {MAX_DESTINATIONS}, of all rules together"
    );
    assert_refused_everywhere(&with(last), &with(last + 1), &words);
}

/// Every map that a change of rules writes.
const MAPS: [&str; 6] = [
    "foreword_rules",
    "foreword_ports",
    "foreword_dests",
    "foreword_trust",
    "foreword_held",
    "foreword_backs",
];

const BPF: [Call; 1] = [(libc::SYS_bpf, "bpf")];

/// Two configurations that differ in everything that is written to maps.
fn configs() -> [Config; 2] {
    let config = |ports: &str, destination: &str| {
        let web = Rule::new("web", ports)
            .inbound("require", ["10.77.1.2", "fd77:1::2"])
            .outbound("v1")
            .with("whenAbsent: drop")
            .with("guard: { synPerSecondPerSource: 100000 }");
        let more = Rule::new("more", 90)
            .outbound("v1")
            .with("upstream: { source: client }")
            .with(format!("destinations: ['{destination}']"));
        Config::on("eth0").rule(web).rule(more)
    };
    [config("80, 81", "203.0.113.1"), config("80, 82", "203.0.113.2")]
}

/// What the maps of a process say, entry by entry.
fn state(pid: u32) -> BTreeMap<&'static str, BTreeSet<String>> {
    MAPS.into_iter().map(|name| (name, entries(pid, name))).collect()
}

fn entries(pid: u32, name: &str) -> BTreeSet<String> {
    let dump = bpftool(&["map", "dump", "id", &map_id(pid, name)]);
    let entries = dump.as_array().into_iter().flatten();
    entries.map(|entry| format!("{}{}", entry["key"], entry["value"])).collect()
}

/// The map of this name to which a process's descriptors lead.
fn map_id(pid: u32, name: &str) -> String {
    let mut ids = descriptor_ids(pid, "map_id:").into_iter().map(|id| id.to_string());
    let found = ids.find(|id| bpftool(&["map", "show", "id", id])["name"] == name);
    found.unwrap_or_else(|| panic!("no map {name}"))
}

fn bpftool(arguments: &[&str]) -> Value {
    let mut command = Command::new("bpftool");
    command.arg("--json").args(arguments);
    serde_json::from_str(&output_of(command)).expect("bpftool writes JSON")
}

/// Each of a reload's writes fails in turn, in the kernel's own maps.
#[apply(lab_test)]
fn a_map_that_refuses_a_write_leaves_all_maps_as_they_were() {
    let lab = lab();
    let (refused, mut wrong) = (AtomicUsize::new(0), Vec::new());
    for number in 0.. {
        let [before, after] = configs();
        let config = ConfigFile::saying(&before);
        let path = config.path();
        let arguments = ["run", "-c", path.to_str().expect("a path of ours")];
        let (during, consequence) = (During::Service, Consequence::Refusal);
        let fault = Fault { during, calls: &BPF, number, consequence };
        let complaints = Mutex::new(vec!["it was never ready".to_owned()]);
        let is_over = Mutex::new(false);
        let ended = fault::run(&lab.node, FOREWORD.path(), &arguments, fault, |running| {
            let (reload, complaint) = reload_to(running, &config, &after);
            *complaints.lock().expect("nobody panics") = Vec::from_iter(complaint);
            *is_over.lock().expect("nobody panics") = reload == Reload::Done;
            refused.fetch_add(usize::from(reload == Reload::Refused), Ordering::Relaxed);
        });
        let complaints = complaints.into_inner().expect("nobody panics").into_iter();
        wrong.extend(complaints.map(|complaint| {
            format!("call {number}: {complaint}\n{}{}", ended.stdout, ended.stderr)
        }));
        cleanup(&lab.node);
        // What is counted may also be the publishing of counters, once a second.
        if is_over.into_inner().expect("nobody panics") && number > WRITES {
            break;
        }
    }
    let refused = refused.into_inner();
    say(&format!("{refused} reloads were refused by a map, and changed none"));
    assert!(wrong.is_empty(), "{}", wrong.concat());
    assert!(refused >= WRITES / 2, "{refused}");
}

/// Writes that the change between the two files takes.
const WRITES: usize = 16;

/// Changes the file while calls are counted. If that is refused, the maps must be as they were, and
/// take the same change when nothing fails any more.
fn reload_to(
    running: &Running<'_>,
    config: &ConfigFile,
    changed: &Config,
) -> (Reload, Option<String>) {
    let was = state(running.pid);
    let pid = Pid::from_raw(running.pid.try_into().expect("a pid"));
    running.count_from_now();
    config.say(changed);
    let seen = |word: &str| running.output().contains(word);
    let has_ended = || seen("\nreloaded:") || seen("not reloaded");
    if let Err(error) = wait_until(PATIENCE, "a reload", has_ended) {
        return (Reload::Done, Some(error.to_string()));
    }
    if !seen("not reloaded") {
        return (Reload::Done, None);
    }
    let restored = wait_until(PATIENCE, "the maps as they were", || state(running.pid) == was);
    let changed = restored.err().map(|_| format!("{was:#?}\nbecame\n{:#?}", state(running.pid)));
    kill(pid, Signal::SIGHUP).expect("it runs");
    let again = wait_until(PATIENCE, "another reload", || seen("\nreloaded:"));
    (Reload::Refused, changed.or_else(|| again.err().map(|error| error.to_string())))
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reload {
    Done,
    Refused,
}
