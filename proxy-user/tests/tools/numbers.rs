//! The times in the manifests and in the unit, against each other and against the program's own: who
//! starts, probes and stops a run has to leave room for what it does meanwhile.

use std::fs;
use std::time::Duration;

use foreword::config::RawConfig;
use foreword::config::times::{BEAT, HANDSHAKES, LONGEST_TAKEOVER, MISSED_BEATS, PROBE, STUCK};
use serde_json::Value;

use crate::shipped::{configurations, repository};

/// What the end of a run takes besides: the last bytes, the kernel's objects, the container runtime.
const END: Duration = Duration::from_secs(5);

fn seconds(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_secs)
}

fn default_drain_timeout() -> String {
    RawConfig::default().drain_timeout.to_string()
}

fn daemon_set() -> Value {
    let path = repository().join("scripts/kubernetes/base/daemonset.yaml");
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The `drainTimeout` of each configuration that is shipped with the manifests, by its folder's name.
fn drain_timeouts() -> Vec<(String, Duration)> {
    let all = configurations(&repository().join("scripts/kubernetes"));
    let of = |path: &std::path::PathBuf| {
        let name = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap();
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        let written =
            config["drainTimeout"].as_str().map_or_else(default_drain_timeout, str::to_owned);
        (name, humantime::parse_duration(&written).unwrap())
    };
    all.iter().map(of).collect()
}

/// How long a probe fails before something comes of it.
fn window(probe: &Value) -> Duration {
    let number = |key: &str, usual: u64| probe[key].as_u64().unwrap_or(usual);
    Duration::from_secs(number("periodSeconds", 10) * number("failureThreshold", 3))
}

/// What does not fit, in the `DaemonSet` of a pod that may drain for so long.
fn complaints(daemon_set: &Value, drain: Duration) -> Vec<String> {
    let mut all = Vec::new();
    let mut require = |is_so: bool, what: String| {
        if !is_so {
            all.push(what);
        }
    };
    let spec = &daemon_set["spec"];
    let pod = &spec["template"]["spec"];
    let container = &pod["containers"][0];

    // The kubelet counts a preStop hook as a part of the grace period.
    let pre_stop = &container["lifecycle"]["preStop"];
    let paused = seconds(&pre_stop["sleep"]["seconds"]).unwrap_or_default();
    require(pre_stop["exec"].is_null(), "preStop runs for nobody knows how long".to_owned());
    let grace = seconds(&pod["terminationGracePeriodSeconds"]).unwrap_or(Duration::from_secs(30));
    let needed = paused + HANDSHAKES + drain + END;
    require(grace >= needed, format!("terminationGracePeriodSeconds {grace:?} < {needed:?}"));

    // Until then a new pod may still give up, or its predecessor come back.
    let ready = seconds(&spec["minReadySeconds"]).unwrap_or_default();
    let taken = LONGEST_TAKEOVER.max(STUCK) + HANDSHAKES;
    require(ready > taken, format!("minReadySeconds {ready:?} <= {taken:?}"));

    let [startup, readiness, liveness] =
        ["startupProbe", "readinessProbe", "livenessProbe"].map(|name| &container[name]);
    for (name, probe) in [("startup", startup), ("readiness", readiness), ("liveness", liveness)] {
        let patience = seconds(&probe["timeoutSeconds"]).unwrap_or(Duration::from_secs(1));
        require(patience > PROBE, format!("{name}: timeoutSeconds {patience:?} <= {PROBE:?}"));
    }
    let started = window(startup);
    let start = 2 * LONGEST_TAKEOVER;
    require(started >= start, format!("startupProbe gives up after {started:?} < {start:?}"));
    // Killing resets all connections: a stall that passes, or a node that was paused, is no reason.
    let stall = BEAT * MISSED_BEATS;
    let (unready, dead) = (window(readiness), window(liveness));
    require(unready >= 2 * stall, format!("readinessProbe fails after {unready:?} < 2 stalls"));
    require(dead >= 10 * stall, format!("livenessProbe kills after {dead:?} < 10 stalls"));
    require(dead > unready, format!("livenessProbe kills {dead:?}, unready {unready:?}"));
    all
}

#[test]
fn the_manifests_leave_room_for_what_a_run_does() {
    let drains = drain_timeouts();
    assert!(drains.len() >= 5, "{drains:?}");
    for (name, drain) in drains {
        assert_eq!(complaints(&daemon_set(), drain), [""; 0], "{name}");
    }
}

/// A judge that lets everything pass would not be noticed.
#[test]
fn each_number_that_does_not_fit_is_found() {
    let usual = Duration::from_secs(30);
    let container = "/spec/template/spec/containers/0";
    let sleep = serde_json::json!({ "preStop": { "sleep": { "seconds": 30 } } });
    let exec = serde_json::json!({ "preStop": { "exec": { "command": ["/foreword", "health"] } } });
    for (place, value, found) in [
        (
            "/spec/template/spec/terminationGracePeriodSeconds".to_owned(),
            37.into(),
            "terminationGracePeriodSeconds 37s < 38s",
        ),
        ("/spec/minReadySeconds".to_owned(), 18.into(), "minReadySeconds 18s <= 18s"),
        (format!("{container}/startupProbe/failureThreshold"), 10.into(), "startupProbe gives up"),
        (
            format!("{container}/readinessProbe/timeoutSeconds"),
            3.into(),
            "readiness: timeoutSeconds",
        ),
        (format!("{container}/readinessProbe/periodSeconds"), 1.into(), "readinessProbe fails"),
        (format!("{container}/livenessProbe/periodSeconds"), 3.into(), "livenessProbe kills after"),
        (format!("{container}/readinessProbe/periodSeconds"), 60.into(), "livenessProbe kills 60s"),
        (format!("{container}/lifecycle"), sleep, "terminationGracePeriodSeconds 60s < 68s"),
        (format!("{container}/lifecycle"), exec, "preStop runs"),
    ] {
        let mut daemon_set = daemon_set();
        let (parent, key) = place.rsplit_once('/').unwrap();
        daemon_set.pointer_mut(parent).unwrap()[key] = value;
        let all = complaints(&daemon_set, usual).join("\n");
        assert!(all.contains(found), "{place}: {found} is not in {all:?}");
    }
    let long = complaints(&daemon_set(), Duration::from_secs(300)).join("\n");
    assert!(long.contains("terminationGracePeriodSeconds"), "{long:?}");
}

/// The value of a unit's key, which is there once.
fn of_unit<'a>(unit: &'a str, key: &str) -> &'a str {
    let lines: Vec<_> =
        unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
    let [value] = lines[..] else { panic!("{key}: {lines:?}") };
    value
}

#[test]
fn the_unit_leaves_room_for_what_a_run_does() {
    let unit = repository().join("scripts/systemd/foreword@.service");
    let unit = fs::read_to_string(unit).unwrap();
    let number = |key| of_unit(&unit, key).parse::<u64>().unwrap();
    let drain = humantime::parse_duration(&default_drain_timeout()).unwrap();
    let stop = Duration::from_secs(number("TimeoutStopSec"));
    let needed = HANDSHAKES + drain + END;
    assert!(stop >= needed, "TimeoutStopSec {stop:?} < {needed:?}");
    // A start that is refused at once is tried so often, and then no more.
    let tries = number("StartLimitBurst") * number("RestartSec");
    assert!(tries < number("StartLimitIntervalSec"), "it would be started for ever");
    // With `Type=exec` a start is over when the program runs, whatever a takeover takes.
    assert_eq!(of_unit(&unit, "Type"), "exec");
}
