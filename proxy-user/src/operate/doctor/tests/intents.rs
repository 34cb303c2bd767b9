//! What a file asks of the node.

use super::super::Severity::{Fatal, Note, Warning};
use super::super::facts::Facts;
use super::super::intent::Intent;
use super::super::{Report, judge};
use super::{assert_bad, assert_fine, healthy, hidden, program, set};
use crate::address::UpstreamAddr;
use crate::config::{Syntax, file, validate};
use crate::steer::survey::interfaces::Role;
use crate::steer::survey::programs::{TcHook, XdpMode, XdpProgram};
use crate::steer::warnings::Warning as SteeringWarning;

/// A file with these lines, and a rule with these of its own.
fn intent(lines: &str, of_rule: &str) -> Intent {
    let text = format!(
        "interfaces: [eth0]\n{lines}\nrules:\n  - name: web\n    ports: [80]\n    inbound: \
         {{mode: require, trusted: [10.0.0.0/8]}}\n    outbound: {{version: none}}\n    {of_rule}\n"
    );
    let config = file::parse(&text).expect("a file");
    Intent::from(validate(&config, Syntax::File).expect("a valid one"))
}

fn judged(how: impl FnOnce(&mut Facts), intent: &Intent) -> Report {
    let mut facts = healthy();
    how(&mut facts);
    judge(&facts, intent)
}

#[test]
fn a_plain_file_asks_for_nothing_special() {
    let report = judged(|_| {}, &intent("", ""));
    assert_fine(&report, "guard", &["in XDP, in the driver"]);
    assert!(report.sections.iter().all(|section| section.about != "rules"), "{report:#?}");
}

#[test]
fn a_hook_that_the_kernel_lacks_is_fatal() {
    let tcx = intent("hook: tcx", "");
    assert_fine(&judged(|_| {}, &tcx), "tcx", &["by links"]);
    let old = judged(|facts| facts.survey.features.tcx = false, &tcx);
    assert_bad(&old, Fatal, "tcx", &["hook: tcx asks for it", "hook: auto"]);
    let clsact = intent("hook: clsact", "");
    assert_bad(&judged(|_| {}, &clsact), Note, "tcx", &["clsact filters"]);
    let theirs = |facts: &mut Facts| {
        let interfaces = facts.survey.interfaces.as_mut().expect("one");
        interfaces[0].ingress.tcx = Ok(vec![program("theirs", TcHook::Tcx)]);
    };
    let report = judged(theirs, &clsact);
    let order = report.findings().find(|finding| finding.check == "ingress").expect("one");
    assert_eq!(order.severity, Warning, "tcx comes before filters: {order:?}");
}

#[test]
fn a_guard_stands_where_it_is_asked_to_or_is_fatal() {
    let on =
        |how: fn(&mut Facts), hook: &str| judged(how, &intent(&format!("guardHook: {hook}"), ""));
    let as_it_is: fn(&mut Facts) = |_| {};
    assert_fine(&on(as_it_is, "native"), "guard", &["in its driver, as asked"]);
    assert_fine(&on(as_it_is, "generic"), "guard", &["in generic XDP, as asked"]);
    assert_fine(&on(as_it_is, "tc"), "guard", &["in TC, as asked"]);
    let no_xdp = |facts: &mut Facts| {
        facts.survey.interfaces.as_mut().expect("one")[0].native_xdp = Ok(false);
    };
    assert_bad(&on(no_xdp, "native"), Fatal, "guard", &["not support XDP", "guardHook: auto"]);
    assert_fine(&on(no_xdp, "generic"), "guard", &["as asked"]);
    let unknown = |facts: &mut Facts| {
        facts.survey.interfaces.as_mut().expect("one")[0].native_xdp = hidden();
    };
    assert_bad(&on(unknown, "native"), Note, "guard", &["made up"]);

    let with = |name: &str, hook: &str| {
        let intent = intent(&format!("guardHook: {hook}"), "");
        let program = XdpProgram { name: Ok(name.to_owned()), mode: XdpMode::Driver };
        let occupy = |facts: &mut Facts| {
            facts.survey.interfaces.as_mut().expect("one")[0].xdp = vec![program];
        };
        let report = judged(occupy, &intent);
        report.findings().find(|finding| finding.check == "guard").cloned().expect("one")
    };
    for hook in ["native", "generic"] {
        assert_eq!(with("cil_xdp_entry", hook).severity, Fatal);
        assert_ne!(with("foreword_guard", hook).severity, Fatal, "a predecessor makes room");
    }
    assert!(with("cil_xdp_entry", "auto").what.contains("another program is there"));
}

#[test]
fn without_a_guard_none_is_told_of() {
    let report = judged(|_| {}, &intent("", "guard: {enabled: false}"));
    assert!(report.findings().all(|finding| finding.check != "guard"), "{report:#?}");
}

#[test]
fn more_workers_than_cpus_are_a_note() {
    assert_fine(&judged(|_| {}, &intent("workers: 1", "")), "cpus", &["2 allowed, for 1 workers"]);
    let report = judged(|_| {}, &intent("workers: 3", ""));
    assert_bad(&report, Note, "cpus", &["3 workers", "share a CPU"]);
}

#[test]
fn more_connections_than_files_are_a_warning() {
    let report = judged(|_| {}, &intent("limits: {connections: 40000}", ""));
    assert_bad(&report, Warning, "files", &["40000", "65536 files", "allow 80224"]);
    assert_fine(&judged(|_| {}, &intent("limits: {connections: 20000}", "")), "files", &[]);
}

#[test]
fn memory_that_buffers_may_take_and_is_not_there_is_a_warning() {
    let with = |limits: &str| {
        judged(|facts| facts.process.memory = super::memory(1 << 30), &intent(limits, ""))
    };
    assert_bad(&with("limits: {memory: none}"), Warning, "memory", &["any amount", "auto, or a"]);
    let words = ["2.0 GiB for buffers", "1.0 GiB in all", "limits.memory: auto"];
    assert_bad(&with("limits: {memory: 2GiB}"), Warning, "memory", &words);
    assert_fine(&with("limits: {memory: 512MiB, connections: 1024}"), "memory", &["1.0 GiB"]);
    assert_fine(&with("limits: {memory: none, connections: 48}"), "memory", &["any amount"]);
}

#[test]
fn what_seeing_clients_asks_of_the_network_is_told() {
    let original = intent("", "upstream: {source: client}");
    let words = ["rule web", "answers have to come back through this node", "another host needs"];
    assert_bad(&judged(|_| {}, &original), Note, "upstream", &words);

    let proxied = |intent: &Intent| {
        let report = judged(|facts| facts.survey.services.nftables = Ok(true), intent);
        let says = |words: &str| {
            report.findings().filter_map(|it| it.fix.as_ref()).any(|fix| fix.contains(words))
        };
        assert_eq!(report.severity, Note, "{report:#?}");
        (says("write source: node, unless"), says("name a pod's or a server's own address"))
    };
    assert_eq!(proxied(&original), (true, false));
    let fixed = intent("", "upstream: {source: client, address: \"10.96.0.10:80\"}");
    assert_eq!(proxied(&fixed), (false, true));
    assert_eq!(proxied_by_node(), 0, "connections of the node's own are balanced");
}

fn proxied_by_node() -> usize {
    let by_node = intent("", "upstream: {source: node}");
    let report = judged(|facts| facts.survey.services.nftables = Ok(true), &by_node);
    report.findings().filter(|finding| finding.check == "upstream").count()
}

#[test]
fn a_strict_filter_matters_to_servers_that_see_clients() {
    let strict =
        |of_rule| judged(|facts| facts.settings.rp_filter = set("1"), &intent("", of_rule));
    assert_fine(&strict(""), "rp_filter", &["not in the way"]);
    let report = strict("upstream: {source: client}");
    let finding = report.findings().find(|finding| finding.check == "rp_filter").expect("one");
    assert_eq!((finding.severity, report.severity), (Warning, Warning), "{finding:?}");
}

#[test]
fn what_the_node_will_not_give_is_a_warning() {
    let upstream = UpstreamAddr::new("192.0.2.9:80".parse().expect("an address"));
    let warnings = vec![SteeringWarning::NoRoute { upstream }];
    let report = judged(|facts| facts.survey.warnings = warnings, &intent("", ""));
    assert_bad(&report, Warning, "upstream", &["no route to the upstream 192.0.2.9:80", "add one"]);
}

#[test]
fn an_upstreams_interface_has_no_guard_and_another_program() {
    let report = judged(
        |facts| {
            let interface = &mut facts.survey.interfaces.as_mut().expect("one")[0];
            interface.role = Role::Upstream;
            interface.ingress.tcx = Ok(vec![
                program("cil_from_contai", TcHook::Tcx),
                program("foreword_answer", TcHook::Tcx),
            ]);
        },
        &intent("", ""),
    );
    let words = ["cil_from_contai (Cilium) runs before foreword_answer"];
    assert_bad(&report, Warning, "ingress", &words);
    assert!(report.findings().all(|finding| finding.check != "guard"), "{report:#?}");
}
