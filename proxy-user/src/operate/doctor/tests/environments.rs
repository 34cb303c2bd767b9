//! What is advised can be done where doctor runs.

use super::super::{Severity, judge};
use super::{Report, broken, empty_chain, healthy, healthy_interface, hidden, program, set};
use crate::operate::doctor::facts::Facts;
use crate::operate::doctor::intent::Intent;
use crate::steer::survey::interfaces::SteeredBy;
use crate::steer::survey::programs::TcHook;
use crate::steer::survey::tunnels::Tunnels;
use crate::sys::environment::Environment;
use crate::sys::fact::Unknown;

/// Beginnings of commands that change the node, and of what a process does to itself.
const COMMANDS: [&str; 7] = [
    "mount -t",
    "sysctl ",
    "ip link",
    "systemctl",
    "ulimit -",
    "install the kernel",
    "LimitNOFILE",
];

/// Everything that there is advice on is wrong.
fn wretched(environment: Environment) -> Facts {
    let mut facts = healthy();
    facts.environment = environment;
    facts.process.missing = Ok(vec!["CAP_NET_ADMIN"]);
    facts.process.files = Ok((256, 1000));
    facts.cgroup = Err(Unknown::because("not mounted"));
    facts.survey.bpffs = Ok(false);
    facts.survey.features.tcx = false;
    facts.survey.features.veth = Ok(false);
    facts.survey.features.clsact = Ok(false);
    facts.survey.tunnels = Ok(Tunnels { mpls: vec!["eth0".to_owned()], ..Tunnels::default() });
    facts.survey.services.iptables = hidden();
    let settings = &mut facts.settings;
    settings.jit = set("0");
    settings.unprivileged_bpf = set("0");
    settings.bpf_stats = set("1");
    settings.syncookies = set("0");
    settings.local_ports = set("60000 60999");
    settings.pipe_size = set("65536");
    let mut down = healthy_interface();
    down.is_up = false;
    let mut narrow = healthy_interface();
    narrow.mtu = 576;
    narrow.steered_by = Ok(SteeredBy::Elsewhere);
    let mut behind = healthy_interface();
    behind.ingress = empty_chain();
    behind.ingress.tcx =
        Ok(vec![program("cil_from_netdev", TcHook::Tcx), program("foreword_steer", TcHook::Tcx)]);
    facts.survey.interfaces = Ok(vec![down, narrow, behind]);
    facts
}

fn report(environment: Environment) -> Report {
    judge(&wretched(environment), &Intent::default())
}

/// The advice on a check, all of it.
fn advice(report: &Report, check: &str) -> String {
    let found: Vec<_> = report.findings().filter(|finding| finding.check == check).collect();
    assert!(!found.is_empty(), "no {check}: {report:#?}");
    found.into_iter().filter_map(|finding| finding.fix.clone()).collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_is_advised_that_a_container_cannot_do() {
    for environment in [Environment::Container, Environment::Pod] {
        let report = report(environment);
        assert!(report.findings().filter(|it| it.severity != Severity::Ok).count() > 15);
        for finding in report.findings() {
            let fix = finding.fix.as_deref().unwrap_or_default();
            let is_command = COMMANDS.iter().any(|command| fix.contains(command));
            assert!(
                !is_command || fix.contains("on the node"),
                "{environment:?} {}: {fix}",
                finding.check
            );
        }
    }
}

#[test]
fn a_host_is_told_commands_as_they_are_typed() {
    let report = report(Environment::Host);
    for (check, command) in [
        ("cgroup2", "mount -t cgroup2 none /sys/fs/cgroup"),
        ("bpf-jit", "sysctl net.core.bpf_jit_enable=1"),
        ("interface", "ip link set eth0 up"),
        ("files", "ulimit -Hn"),
    ] {
        assert!(advice(&report, check).contains(command), "{check}: {}", advice(&report, check));
    }
    assert!(report.findings().all(|it| !it.fix.iter().any(|fix| fix.contains("on the node:"))));
}

#[test]
fn each_place_is_told_what_there_is_there() {
    for (check, words) in [
        ("capabilities", ["run as root", "CapabilityBoundingSet=", "--cap-add", "securityContext"]),
        ("cgroup2", ["mount -t", "start the unit again", "--volume", "boot the node"]),
        ("bpffs", ["mount -t bpf", "sys-fs-bpf.mount", "--volume", "hostPath"]),
        ("files", ["ulimit -Hn", "in the unit", "--ulimit", "container runtime on the node"]),
        ("steered", ["--volume", "RuntimeDirectory=", "--volume", "hostPath"]),
        (
            "ingress",
            ["foreword run", "instance of the unit", "another container", "rollout restart"],
        ),
        ("services", ["as root", "in the unit", "podman exec", "kubectl exec"]),
    ] {
        for (environment, word) in Environment::ALL.into_iter().zip(words) {
            let advice = advice(&report(environment), check);
            assert!(advice.contains(word), "{environment:?} {check}: {word} is not in {advice}");
        }
    }
}

#[test]
fn a_place_changes_no_verdict() {
    let verdicts = |environment| {
        let report = report(environment);
        report.findings().map(|it| (it.check, it.severity)).collect::<Vec<_>>()
    };
    for environment in Environment::ALL {
        assert_eq!(verdicts(environment), verdicts(Environment::Host), "{environment:?}");
        assert_eq!(broken(|facts| facts.environment = environment).severity, Severity::Ok);
    }
}
