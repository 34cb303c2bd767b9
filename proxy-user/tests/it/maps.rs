//! The pinned maps, as `bpftool` shows them to a person: by field names, from BTF.

use std::process::Command;

use netlab::{Daemon, output_of};
use serde_json::Value;

/// `bpftool map dump` of an instance's map; `options` are bpftool's own.
pub fn dump(foreword: &Daemon, map: &str, options: &[&str]) -> String {
    let pin = format!("/sys/fs/bpf/foreword/{}/{map}", foreword.pid());
    let mut bpftool = Command::new("bpftool");
    bpftool.args(options).args(["map", "dump", "pinned", &pin]);
    output_of(bpftool)
}

/// The entries of a map, each as what BTF makes of it.
fn entries(foreword: &Daemon, map: &str) -> Vec<Value> {
    let dump: Value =
        serde_json::from_str(&dump(foreword, map, &["--json"])).expect("bpftool writes JSON");
    let entries = dump.as_array().expect("a list of entries");
    entries.iter().map(|entry| entry["formatted"].clone()).collect()
}

/// The values of `foreword_conns`: one for each live socket.
pub fn connections(foreword: &Daemon) -> Vec<Value> {
    let entries = entries(foreword, "foreword_conns");
    entries.iter().map(|entry| entry["value"].clone()).collect()
}

/// A counter of `foreword_stats`, summed over the CPUs.
pub fn packets(foreword: &Daemon, counter: &str) -> u64 {
    let entries = entries(foreword, "foreword_stats");
    let cpus = entries.iter().filter_map(|entry| entry["values"].as_array()).flatten();
    let counts = cpus.map(|cpu| cpu["value"][counter].as_u64());
    counts.map(|count| count.unwrap_or_else(|| panic!("no counter {counter}"))).sum()
}

/// How often a connection was refused or cut short for `reason`, from `foreword_reason`.
pub fn refused(foreword: &Daemon, reason: &str) -> u64 {
    count(foreword, reason, "connections")
}

/// How many packets were dropped for `reason`.
pub fn dropped(foreword: &Daemon, reason: &str) -> u64 {
    count(foreword, reason, "packets")
}

fn count(foreword: &Daemon, reason: &str, field: &str) -> u64 {
    let entries = entries(foreword, "foreword_reason");
    let value = entries.iter().map(|entry| &entry["value"]).find(|value| name(value) == reason);
    value.and_then(|value| value[field].as_u64()).expect("a reason of that name")
}

/// The text in a reason's zero-filled name.
fn name(value: &Value) -> String {
    let letters = value["name"].as_array().into_iter().flatten().filter_map(byte);
    letters.take_while(|byte| *byte != 0).map(char::from).collect()
}

/// A byte of an array: bpftool writes a number, or hexadecimal text.
pub fn byte(value: &Value) -> Option<u8> {
    let hexadecimal = |text: &str| u8::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
    number.or_else(|| value.as_str().and_then(hexadecimal))
}
