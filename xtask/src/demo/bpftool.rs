//! Looking at kernel objects with `bpftool`, as a person would.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use proxy_common::{maps, names};
use serde_json::Value;

/// Counters by name, those at zero left out.
pub type Counters = BTreeMap<String, u64>;

/// Packets, summed over the CPUs.
pub fn packets(instance: u32) -> Result<Counters> {
    Ok(packet_counters(&dump(instance, maps::STATS.name)?))
}

/// Connections that were refused or cut short, and packets that were dropped before there was one, by
/// reason.
pub fn reasons(instance: u32) -> Result<Counters> {
    Ok(reason_counters(&dump(instance, maps::REASONS.name)?))
}

/// The command that [`reasons`] runs.
pub fn reasons_line(instance: u32) -> String {
    format!("bpftool -j map dump pinned {}", pin(instance, maps::REASONS.name))
}

/// Adds counters to sums.
pub fn add(sums: &mut Counters, counters: Counters) {
    for (name, count) in counters {
        *sums.entry(name).or_default() += count;
    }
}

/// One line for each counter.
pub fn table(counters: &Counters) -> String {
    let line = |(name, count): (&String, &u64)| format!("{count:>6}  {name}\n");
    counters.iter().map(line).collect()
}

/// Folder of an instance's pins.
pub fn pin_folder(instance: u32) -> String {
    format!("{}/{}/{instance}", names::BPFFS, names::PIN_FOLDER)
}

/// The ids of all objects of one kind: `prog`, `map` or `link`.
pub fn ids(kind: &str) -> Result<Vec<u64>> {
    let objects = bpftool(&[kind, "show"])?;
    let objects = objects.as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(objects.iter().filter_map(|object| object["id"].as_u64()).collect())
}

fn pin(instance: u32, map: &str) -> String {
    format!("{}/{map}", pin_folder(instance))
}

fn dump(instance: u32, map: &str) -> Result<Value> {
    let pin = pin(instance, map);
    if !Path::new(&pin).exists() {
        bail!("there is no {pin}");
    }
    bpftool(&["map", "dump", "pinned", &pin])
}

fn bpftool(args: &[&str]) -> Result<Value> {
    let output = Command::new("bpftool").arg("-j").args(args).output();
    let output = output.context("cannot run bpftool")?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("cannot read what `bpftool -j {}` said", args.join(" ")))?;
    if let Some(error) = answer["error"].as_str() {
        bail!("`bpftool -j {}`: {error}", args.join(" "));
    }
    Ok(answer)
}

/// `[{"formatted": {"key": 0, "values": [{"cpu": 0, "value": {"passed": 1, …}}, …]}}]`
fn packet_counters(dump: &Value) -> Counters {
    let mut counters = Counters::new();
    for value in items(&dump[0]["formatted"]["values"]) {
        let fields = value["value"].as_object().into_iter().flatten();
        for (name, count) in fields {
            let count = count.as_u64().unwrap_or_default();
            if count > 0 {
                *counters.entry(name.clone()).or_default() += count;
            }
        }
    }
    counters
}

/// `[{"formatted": {"key": 0, "value": {"name": [110, …, 0], "connections": 1, "packets": 0}}}, …]`
fn reason_counters(dump: &Value) -> Counters {
    let entry = |entry: &Value| {
        let value = &entry["formatted"]["value"];
        let count = value["connections"].as_u64()? + value["packets"].as_u64()?;
        (count > 0).then_some(())?;
        Some((text(&value["name"])?, count))
    };
    items(dump).iter().filter_map(entry).collect()
}

/// A zero-filled array of bytes; `bpftool` prints them as numbers, or as text where the type is
/// `char`.
fn text(bytes: &Value) -> Option<String> {
    if let Some(text) = bytes.as_str() {
        return Some(text.to_owned());
    }
    let byte = |it: &Value| it.as_u64().and_then(|it| u8::try_from(it).ok());
    let bytes: Vec<u8> = items(bytes).iter().map_while(byte).take_while(|&it| it != 0).collect();
    String::from_utf8(bytes).ok()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sums_over_cpus() {
        let cpu = |passed, steered| json!({"value": {"passed": passed, "steered_syn": steered}});
        let dump = json!([{"formatted": {"key": 0, "values": [cpu(0, 2), cpu(0, 3)]}}]);
        assert_eq!(packet_counters(&dump), Counters::from([("steered_syn".to_owned(), 5)]));
    }

    #[test]
    fn names_reasons() {
        let named = |name: &[u8], connections: u64, packets: u64| {
            json!({"formatted": {"value": {
                "name": name, "connections": connections, "packets": packets
            }}})
        };
        let dump =
            json!([named(b"no-header\0\0", 2, 0), named(b"v1-port\0", 0, 0), named(b"x\0", 0, 5)]);
        let expected = [("no-header".to_owned(), 2), ("x".to_owned(), 5)];
        assert_eq!(reason_counters(&dump), Counters::from(expected));
    }
}
