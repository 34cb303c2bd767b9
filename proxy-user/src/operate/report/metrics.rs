//! A status as text in the format of openmetrics.io, for Prometheus.
//!
//! Labels have as many values as the configuration has rules and interfaces, and as there are
//! reasons: nothing that a client sends makes a series.

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Interface, Rule, State, Status};

/// What it is, for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Gauges = Family<Labels, Gauge>;

/// Writes it.
pub fn encode(status: &Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("foreword");
    process(status, &mut registry);
    connections(&status.rules, &mut registry);
    packets(status, &mut registry);
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

fn process(status: &Status, registry: &mut Registry) {
    let version = vec![("version", status.version.clone())];
    gauge(registry, "info", "What is running", [(version, 1)]);
    let of_all = |value| [(Labels::new(), value)];
    gauge(registry, "start_time_seconds", "When it began, since 1970", of_all(status.since));
    gauge(registry, "workers", "Worker threads", of_all(status.workers as u64));
    let stalled = (0..status.workers).map(|worker| {
        let found = status.stalled.iter().find(|stalled| stalled.worker == worker);
        let labels = vec![("worker", worker.to_string())];
        (labels, found.map_or(0, |stalled| stalled.seconds))
    });
    let help = "For how long a worker has not come round; 0 while it does";
    gauge(registry, "worker_stalled_seconds", help, stalled);
    gauge(registry, "connection_limit", "Connections that may be open", of_all(status.limit));
    let (help, limit_help) = ("What connections' buffers count for", "What that may come to");
    gauge(registry, "buffer_memory_bytes", help, of_all(status.memory));
    let limit = status.memory_limit.map(|limit| (Labels::new(), limit));
    gauge(registry, "buffer_memory_limit_bytes", limit_help, limit);
    let draining = u64::from(status.state == State::Draining);
    gauge(registry, "draining", "1 while new connections are not taken any more", of_all(draining));
    let attached = status.interfaces.iter().filter(|interface| interface.failed.is_none());
    let interfaces = attached.map(|Interface { name, hook, guard, .. }| {
        let guard = guard.clone().unwrap_or_else(|| "none".to_owned());
        (vec![("interface", name.clone()), ("hook", hook.clone()), ("guard", guard)], 1)
    });
    gauge(registry, "interfaces", "Interfaces that it is attached to", interfaces);
    let failed = status.interfaces.iter().map(|Interface { name, failed, .. }| {
        (vec![("interface", name.clone())], u64::from(failed.is_some()))
    });
    let help = "1 for an interface that should be steered, and can't be attached to";
    gauge(registry, "interface_attach_failed", help, failed);
    let results = [("applied", status.reloads.applied), ("refused", status.reloads.refused)];
    let reloads = results.map(|(result, count)| (vec![("result", result.to_owned())], count));
    counter(registry, "reloads", "How often the configuration was read again", reloads);
    let repairs = &status.repairs;
    let repairs = [("repaired", &repairs.made), ("failed", &repairs.failed)];
    let repairs = repairs.into_iter().flat_map(|(result, counts)| {
        counts.iter().map(move |(kind, count)| {
            (vec![("kind", kind.clone()), ("result", result.to_owned())], *count)
        })
    });
    let help = "How often something of ours in the kernel had been changed by others";
    counter(registry, "repairs", help, repairs);
    let lost = [("stdout", status.lost_lines.stdout), ("stderr", status.lost_lines.stderr)];
    let lost = lost.map(|(stream, count)| (vec![("stream", stream.to_owned())], count));
    let help = "Lines of output that could not be written, or that nobody read";
    counter(registry, "log_lines_lost", help, lost);
}

fn connections(rules: &[Rule], registry: &mut Registry) {
    let labels = |rule: &Rule| vec![("rule", rule.name.clone())];
    let accepted = rules.iter().map(|rule| (labels(rule), rule.traffic.accepted));
    counter(registry, "connections_accepted", "Connections accepted", accepted);
    let open = rules.iter().map(|rule| (labels(rule), rule.traffic.open));
    gauge(registry, "connections", "Connections open now", open);
    let ended = rules.iter().flat_map(|rule| {
        let traffic = &rule.traffic;
        let outcomes = [
            ("relayed", traffic.relayed),
            ("unchanged", traffic.unchanged),
            ("health-check", traffic.health_checks),
            ("refused", traffic.refusals()),
        ];
        outcomes.map(|(outcome, count)| (with(labels(rule), "outcome", outcome), count))
    });
    counter(
        registry,
        "connections_ended",
        "Connections that are over, by what they came to",
        ended,
    );
    let refused = rules.iter().flat_map(|rule| {
        let reasons = rule.traffic.refused.iter();
        reasons.map(|(reason, count)| (with(labels(rule), "reason", reason), *count))
    });
    counter(registry, "refused", "Connections refused or cut short", refused);
    let bytes = rules.iter().flat_map(|rule| {
        let directions = [("in", rule.traffic.bytes_in), ("out", rule.traffic.bytes_out)];
        directions.map(|(direction, count)| (with(labels(rule), "direction", direction), count))
    });
    counter(registry, "bytes", "Payload from clients (in) and to them (out)", bytes);
    let down = rules.iter().filter(|rule| rule.does.is_some());
    let down = down.map(|rule| (labels(rule), rule.down.len() as u64));
    let help = "Addresses of the rule's upstream that can't be reached";
    gauge(registry, "upstreams_down", help, down);
    let lookups = rules.iter().filter_map(|rule| Some((rule, rule.lookup.as_ref()?)));
    let failed = lookups.map(|(rule, lookup)| (labels(rule), u64::from(lookup.failed.is_some())));
    let help = "1 while an upstream's name can't be looked up, and its earlier addresses are used";
    gauge(registry, "upstream_lookup_failed", help, failed);
    let long = rules.iter().map(|rule| (labels(rule), rule.traffic.long_headers));
    let help = "Headers written to upstreams that are longer than one segment of 536 bytes";
    counter(registry, "long_headers", help, long);
}

fn packets(status: &Status, registry: &mut Registry) {
    let label = |key, name: &String| vec![(key, name.clone())];
    let packets = status.packets.iter().map(|(name, count)| (label("verdict", name), *count));
    counter(registry, "packets", "Packets, by what became of them", packets);
    let dropped = status.dropped_packets.iter();
    let dropped = dropped.map(|(name, count)| (label("reason", name), *count));
    counter(registry, "dropped_packets", "Packets dropped before there was a connection", dropped);
}

fn with(mut labels: Labels, key: &'static str, value: &str) -> Labels {
    labels.push((key, value.to_owned()));
    labels
}

fn counter(
    registry: &mut Registry,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, u64)>,
) {
    let family = Counters::default();
    for (labels, value) in values {
        family.get_or_create(&labels).inc_by(value);
    }
    registry.register(name, help, family);
}

fn gauge(
    registry: &mut Registry,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, u64)>,
) {
    let family = Gauges::default();
    for (labels, value) in values {
        family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
    }
    registry.register(name, help, family);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use serde_json::Value;

    use super::super::{DownUpstream, Lookup, Repairs, StalledWorker, Traffic};
    use super::*;
    use crate::logging::LostLines;

    fn status() -> Status {
        let refused = [("no-header".to_owned(), 3)].into();
        let traffic = Traffic {
            accepted: 10,
            open: 2,
            relayed: 5,
            refused,
            long_headers: 6,
            ..Traffic::default()
        };
        let interface = Interface { name: "eth0".into(), hook: "tcx".into(), ..Default::default() };
        let failed =
            Interface { name: "eth1".into(), failed: Some("why".into()), ..Default::default() };
        Status {
            version: "1.2.3".into(),
            workers: 2,
            stalled: vec![StalledWorker { worker: 1, seconds: 7 }],
            memory: 1 << 20,
            memory_limit: Some(1 << 30),
            lost_lines: LostLines { stdout: 0, stderr: 4 },
            repairs: Repairs { made: [("veth".to_owned(), 2)].into(), ..Repairs::default() },
            interfaces: vec![interface, failed],
            rules: vec![Rule {
                name: "web".into(),
                does: Some("what".into()),
                down: vec![DownUpstream::default()],
                lookup: Some(Lookup { failed: Some("why".into()), ..Lookup::default() }),
                traffic,
            }],
            packets: [("returned".to_owned(), 7)].into(),
            dropped_packets: [("syn-rate".to_owned(), 1)].into(),
            ..Status::default()
        }
    }

    #[test]
    fn every_number_has_its_name() {
        let text = encode(&status()).unwrap();
        for line in [
            r#"foreword_info{version="1.2.3"} 1"#,
            "foreword_workers 2",
            r#"foreword_worker_stalled_seconds{worker="0"} 0"#,
            r#"foreword_worker_stalled_seconds{worker="1"} 7"#,
            r#"foreword_log_lines_lost_total{stream="stderr"} 4"#,
            r#"foreword_repairs_total{kind="veth",result="repaired"} 2"#,
            "foreword_draining 0",
            "foreword_buffer_memory_bytes 1048576",
            "foreword_buffer_memory_limit_bytes 1073741824",
            r#"foreword_interfaces{interface="eth0",hook="tcx",guard="none"} 1"#,
            r#"foreword_interface_attach_failed{interface="eth0"} 0"#,
            r#"foreword_interface_attach_failed{interface="eth1"} 1"#,
            r#"foreword_connections_accepted_total{rule="web"} 10"#,
            r#"foreword_connections{rule="web"} 2"#,
            r#"foreword_connections_ended_total{rule="web",outcome="relayed"} 5"#,
            r#"foreword_connections_ended_total{rule="web",outcome="refused"} 3"#,
            r#"foreword_refused_total{rule="web",reason="no-header"} 3"#,
            r#"foreword_upstream_lookup_failed{rule="web"} 1"#,
            r#"foreword_long_headers_total{rule="web"} 6"#,
            r#"foreword_upstreams_down{rule="web"} 1"#,
            r#"foreword_packets_total{verdict="returned"} 7"#,
            r#"foreword_reloads_total{result="applied"} 0"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
    }

    /// The text format forbids it, and Prometheus refuses all of it then.
    #[test]
    fn no_name_has_two_kinds() {
        let text = encode(&status()).unwrap();
        let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let names = names.iter().filter_map(|line| Some(line.split_once(' ')?.0));
        let mut once = BTreeSet::new();
        for name in names {
            assert!(once.insert(name), "{name} is there twice:\n{text}");
        }
        assert!(once.len() > 10, "{once:?}");
    }

    /// Names of all series, as Prometheus keeps them.
    fn names() -> BTreeSet<String> {
        let text = encode(&status()).unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let names = types.map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        });
        names.collect()
    }

    /// The words of a text that could be names of series.
    fn mentioned(text: &str) -> BTreeSet<String> {
        let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        words.filter(|word| word.starts_with("foreword_")).map(str::to_owned).collect()
    }

    fn shipped(path: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn every_packet_counter_is_in_the_manual() {
        let manual = shipped("docs/operations.md");
        for (name, description) in proxy_common::abi::Stats::DESCRIPTIONS {
            let line = format!("| `{name}` |{description} |");
            assert!(manual.lines().any(|it| it == line), "not in docs/operations.md: {line}");
        }
    }

    #[test]
    fn every_name_is_in_the_manual() {
        let missing: Vec<_> =
            names().difference(&mentioned(&shipped("docs/operations.md"))).cloned().collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// Both ways: a panel without data, and a number that nobody sees.
    #[test]
    fn the_dashboard_shows_every_name_and_no_other() {
        let dashboard: Value =
            serde_json::from_str(&shipped("scripts/grafana/foreword.json")).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
        let shown: BTreeSet<_> =
            targets.flat_map(|target| mentioned(target["expr"].as_str().unwrap())).collect();
        assert_eq!(shown, names());
    }
}
