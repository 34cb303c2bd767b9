//! Every severity, from made-up facts. The healthy node is the same for all; each test breaks one
//! thing about it, and asserts that this finding alone changes.

mod environments;
mod intents;
mod interfaces;
mod node;
mod tunnels;

use super::facts::{Facts, Kernel, Process, Settings};
use super::intent::Intent;
use super::{Finding, Report, Severity, judge};
use crate::budget::MemoryBudget;
use crate::steer::survey::Survey;
use crate::steer::survey::features::Features;
use crate::steer::survey::interfaces::{Interface, Role, SteeredBy};
use crate::steer::survey::leftovers::Leftovers;
use crate::steer::survey::programs::{Chain, Program, TcHook};
use crate::steer::survey::services::Services;
use crate::steer::survey::tunnels::Tunnels;
use crate::sys::environment::Environment;
use crate::sys::fact::{Fact, Unknown};
use crate::sys::memory::{BufferLimits, Memory, MemoryScope};

/// A value of a kernel setting.
#[allow(clippy::unnecessary_wraps, reason = "it is what the facts hold")]
pub(crate) fn set(value: &str) -> Fact<Option<String>> {
    Ok(Some(value.to_owned()))
}

pub(crate) fn hidden<T>() -> Fact<T> {
    Err(Unknown::because("made up"))
}

#[allow(clippy::unnecessary_wraps, reason = "it is what the facts hold")]
fn memory(bytes: u64) -> Fact<MemoryBudget> {
    let available = Memory { bytes, scope: MemoryScope::Cgroup };
    Ok(MemoryBudget::of(available, BufferLimits { receive: 6 << 20, send: 4 << 20 }))
}

fn empty_chain() -> Chain {
    Chain { tcx: Ok(Vec::new()), clsact: Ok(Vec::new()) }
}

pub(crate) fn program(name: &str, hook: TcHook) -> Program {
    Program { name: name.to_owned(), hook }
}

fn healthy_interface() -> Interface {
    Interface {
        name: "eth0".to_owned(),
        role: Role::Protected,
        mtu: 1500,
        is_up: true,
        is_ethernet: true,
        framing: "ETHER".to_owned(),
        kind: None,
        driver: Some("ena".to_owned()),
        vlans: Vec::new(),
        native_xdp: Ok(true),
        suits_native_xdp: true,
        ingress: empty_chain(),
        egress: empty_chain(),
        xdp: Vec::new(),
        steered_by: Ok(SteeredBy::Nobody),
        hold: Ok(false),
    }
}

pub(crate) fn healthy() -> Facts {
    Facts {
        environment: Environment::Host,
        kernel: Kernel { release: Ok("6.12.3-cloud-amd64".to_owned()), lockdown: Ok(None) },
        process: Process {
            missing: Ok(Vec::new()),
            has_resource: false,
            files: Ok((1024, 65536)),
            memory: memory(64 << 30),
            cpus: Ok(2),
        },
        settings: Settings {
            jit: set("1"),
            jit_harden: set("0"),
            unprivileged_bpf: set("2"),
            bpf_stats: set("0"),
            syncookies: set("1"),
            rp_filter: set("2"),
            src_valid_mark: set("0"),
            forwarding: [set("0"), set("1")],
            local_ports: set("32768\t60999"),
            reserved_ports: set(""),
            tw_reuse: set("2"),
            pipe_size: set("1048576"),
            pipe_pages_soft: set("16384"),
            pipe_pages_hard: set("0"),
        },
        cgroup: Ok("/sys/fs/cgroup".into()),
        survey: Survey {
            features: Features {
                sk_lookup: Ok(true),
                tcx: true,
                redirect_peer: Ok(true),
                redirect_neigh: Ok(true),
                btf: Ok(true),
                veth: Ok(true),
                clsact: Ok(true),
            },
            bpffs: Ok(true),
            interfaces: Ok(vec![healthy_interface()]),
            absent: Vec::new(),
            names: vec!["lo".to_owned(), "eth0".to_owned()],
            tunnels: Ok(Tunnels::default()),
            leftovers: Ok(Leftovers::default()),
            services: Services {
                iptables: Ok(false),
                nftables: Ok(false),
                ipvs: false,
                cilium: false,
            },
            warnings: Vec::new(),
        },
    }
}

/// A node on which one thing is not as it should be.
pub(crate) fn broken(how: impl FnOnce(&mut Facts)) -> Report {
    let mut facts = healthy();
    how(&mut facts);
    judge(&facts, &Intent::default())
}

/// A node with one interface, which is not as it should be.
pub(crate) fn broken_interface(how: impl FnOnce(&mut Interface)) -> Report {
    broken(|facts| {
        let mut interface = healthy_interface();
        how(&mut interface);
        facts.survey.interfaces = Ok(vec![interface]);
    })
}

/// Everything that a finding says.
fn words_of(finding: &Finding) -> String {
    let Finding { interface, what, fix, .. } = finding;
    let interface = interface.as_deref().unwrap_or("-");
    format!("{interface}: {what}; {}", fix.as_deref().unwrap_or("-"))
}

/// Asserts that one finding is not ok, and returns it.
#[track_caller]
fn only_bad(report: &Report) -> &Finding {
    let bad: Vec<_> = report.findings().filter(|f| f.severity != Severity::Ok).collect();
    let [finding] = bad[..] else { panic!("not one: {bad:#?}") };
    assert_eq!(report.severity, finding.severity);
    assert!(finding.fix.as_ref().is_some_and(|fix| !fix.is_empty()), "{finding:?}");
    finding
}

/// Asserts the check, the severity and some words of the one finding that is not ok.
#[track_caller]
fn assert_bad(report: &Report, severity: Severity, check: &str, words: &[&str]) {
    let finding = only_bad(report);
    let line = words_of(finding);
    assert_eq!((finding.severity, finding.check), (severity, check), "{line}");
    assert!(words.iter().all(|word| line.contains(word)), "not all of {words:?}: {line}");
}

/// Asserts that all is well, and that one check says some words.
#[track_caller]
fn assert_fine(report: &Report, check: &str, words: &[&str]) {
    assert_eq!(report.severity, Severity::Ok, "{report:#?}");
    let line = report.findings().filter(|finding| finding.check == check);
    let line: String = line.map(words_of).collect();
    assert!(!line.is_empty() && words.iter().all(|word| line.contains(word)), "{words:?}: {line}");
}

#[test]
fn a_healthy_node_is_all_ok() {
    let report = judge(&healthy(), &Intent::default());
    assert_eq!(report.severity, Severity::Ok, "{report:#?}");
    assert!(!report.is_fatal());
    assert!(report.findings().all(|finding| finding.fix.is_none()), "{report:#?}");
}

#[test]
fn the_worst_finding_is_the_reports_verdict() {
    let warned = broken(|facts| facts.settings.syncookies = set("0"));
    assert!(!warned.is_fatal());
    let fatal = broken(|facts| {
        facts.settings.syncookies = set("0");
        facts.survey.features.redirect_peer = Ok(false);
        facts.settings.rp_filter = set("1");
    });
    assert_eq!(fatal.severity, Severity::Fatal);
    assert!(fatal.is_fatal());
}

#[test]
fn json_has_the_same_words() {
    let report = broken_interface(|nic| nic.is_up = false);
    let json = serde_json::to_value(&report).expect("plain data");
    assert_eq!(json["severity"], "warning");
    let sections = json["sections"].as_array().expect("a list");
    assert_eq!(sections[0]["about"], "kernel");
    assert_eq!(sections[0]["findings"][0]["interface"], serde_json::Value::Null);
    let nic = sections.iter().find(|section| section["about"] == "interface eth0").expect("one");
    let down = &nic["findings"][0];
    assert_eq!((&down["check"], &down["interface"]), (&"interface".into(), &"eth0".into()));
    assert_eq!(down["severity"], "warning");
    assert_eq!(down["fix"], "ip link set eth0 up");
}
