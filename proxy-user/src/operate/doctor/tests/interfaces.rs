//! Interfaces, and the order of programs on them.

use super::super::Severity::{Fatal, Note, Warning};
use super::{assert_bad, assert_fine, broken, broken_interface, hidden, program};
use crate::config::validate::interfaces;
use crate::steer::survey::interfaces::SteeredBy;
use crate::steer::survey::programs::{TcHook, XdpMode, XdpProgram};

#[test]
fn an_absent_interface_is_fatal_and_the_others_are_named() {
    let without = |name: &str| {
        let steering = interfaces(&[name.into()]).expect("a name or pattern").expect("one");
        broken(|facts| facts.survey.absent = steering.interfaces)
    };
    assert_bad(&without("nic"), Fatal, "interface", &["nic: there is no such", "lo, eth0"]);
    assert_bad(&without("eni*"), Note, "interface", &["eni*: no interface", "created later"]);
}

#[test]
fn no_interface_at_all_is_a_warning() {
    let report = broken(|facts| facts.survey.interfaces = Ok(Vec::new()));
    assert_bad(&report, Warning, "interface", &["no interface with Ethernet framing"]);
    let report = broken(|facts| facts.survey.interfaces = hidden());
    assert_bad(&report, Note, "interface", &["made up"]);
}

#[test]
fn an_interface_is_judged_by_its_state() {
    let report = broken_interface(|nic| {
        nic.is_ethernet = false;
        nic.framing = "PPP".to_owned();
    });
    assert_bad(&report, Fatal, "interface", &["eth0: ", "PPP", "not steered"]);
    let report = broken_interface(|nic| nic.is_up = false);
    assert_bad(&report, Warning, "interface", &["down", "ip link set eth0 up"]);
    let report = broken_interface(|nic| nic.mtu = 1279);
    assert_bad(&report, Warning, "interface", &["1279", "IPv6"]);
    assert_fine(&broken_interface(|nic| nic.mtu = 1280), "interface", &["MTU 1280", "driver ena"]);
}

#[test]
fn where_the_guard_would_stand_is_told() {
    assert_fine(&broken_interface(|_| {}), "guard", &["in XDP, in the driver"]);
    let report = broken_interface(|nic| nic.native_xdp = Ok(false));
    assert_fine(&report, "guard", &["in TC: the driver does not support XDP"]);
    let report = broken_interface(|nic| {
        nic.kind = Some("veth".to_owned());
        nic.suits_native_xdp = false;
    });
    assert_fine(&report, "interface", &["virtual (veth)"]);
    assert_fine(&report, "guard", &["in TC", "but is virtual"]);
    let report = broken_interface(|nic| nic.native_xdp = hidden());
    assert_fine(&report, "guard", &["unknown (made up)"]);
}

#[test]
fn vlans_are_to_be_named_themselves() {
    let report = broken_interface(|nic| nic.vlans = vec!["eth0.5".into(), "eth0.6".into()]);
    assert_bad(&report, Note, "vlans", &["eth0.5, eth0.6 as well"]);
}

#[test]
fn a_hold_is_a_warning_while_nobody_steers() {
    let held = |steered_by| {
        broken_interface(|nic| {
            nic.hold = Ok(true);
            nic.steered_by = Ok(steered_by);
        })
    };
    assert_bad(&held(SteeredBy::Nobody), Warning, "hold", &["are dropped", "foreword cleanup"]);
    assert_fine(&held(SteeredBy::Process(7)), "hold", &["stay closed"]);
    assert_fine(&held(SteeredBy::Process(7)), "steered", &["(pid 7)", "--take-over"]);
    assert_fine(&held(SteeredBy::Process(0)), "steered", &["another pid namespace"]);
    let report = broken_interface(|nic| nic.steered_by = hidden());
    assert_bad(&report, Note, "steered", &["made up"]);
    let report = broken_interface(|nic| nic.steered_by = Ok(SteeredBy::Elsewhere));
    assert_bad(&report, Fatal, "steered", &["no lock in /run/foreword", "hostPath"]);
    let report = broken_interface(|nic| nic.hold = hidden());
    assert_bad(&report, Note, "hold", &["made up"]);
}

#[test]
fn what_runs_behind_steer_is_fine() {
    let report = broken_interface(|nic| {
        nic.ingress.tcx = Ok(vec![
            program("foreword_steer", TcHook::Tcx),
            program("cil_from_netdev", TcHook::Tcx),
        ]);
        nic.ingress.clsact = Ok(vec![program("cali_tc_preambl", TcHook::Clsact(1))]);
    });
    let order = "foreword_steer runs before cil_from_netdev (Cilium), cali_tc_preambl (Calico)";
    assert_fine(&report, "ingress", &[order]);
    let alone = broken_interface(|nic| {
        nic.ingress.tcx =
            Ok(vec![program("foreword_steer", TcHook::Tcx), program("foreword_hold", TcHook::Tcx)]);
    });
    assert_fine(&alone, "ingress", &["foreword_steer runs, and no other program"]);
}

#[test]
fn what_runs_before_steer_is_a_warning() {
    let report = broken_interface(|nic| {
        nic.ingress.tcx = Ok(vec![
            program("cil_from_netdev", TcHook::Tcx),
            program("foreword_steer", TcHook::Tcx),
            program("handle_ingress", TcHook::Tcx),
        ]);
    });
    let before = "cil_from_netdev (Cilium) runs before foreword_steer";
    let behind = "it runs before handle_ingress (perhaps the AWS network policy agent)";
    assert_bad(&report, Warning, "ingress", &[before, behind, "--take-over"]);
    let on_clsact = broken_interface(|nic| {
        nic.ingress.clsact = Ok(vec![
            program("theirs", TcHook::Clsact(3)),
            program("foreword_steer", TcHook::Clsact(20)),
        ]);
    });
    assert_bad(&on_clsact, Warning, "ingress", &["theirs runs before", "priority above 20"]);
    let by_tcx = broken_interface(|nic| {
        nic.ingress.tcx = Ok(vec![program("theirs", TcHook::Tcx)]);
        nic.ingress.clsact = Ok(vec![program("foreword_steer", TcHook::Clsact(20))]);
    });
    assert_bad(&by_tcx, Warning, "ingress", &["theirs runs before", "tcx as well"]);
}

#[test]
fn before_an_attach_the_order_is_foretold() {
    let will_be = |has_tcx, hook| {
        broken(|facts| {
            let mut nic = super::healthy_interface();
            let half =
                if hook == TcHook::Tcx { &mut nic.ingress.tcx } else { &mut nic.ingress.clsact };
            *half = Ok(vec![program("theirs", hook)]);
            facts.survey.interfaces = Ok(vec![nic]);
            facts.survey.features.tcx = has_tcx;
        })
    };
    for hook in [TcHook::Tcx, TcHook::Clsact(1), TcHook::Clsact(21)] {
        let words = ["foreword_steer will run before theirs"];
        assert_fine(&will_be(true, hook), "ingress", &words);
    }
    let ingress = |hook| {
        let report = will_be(false, hook);
        let finding = report.findings().find(|finding| finding.check == "ingress");
        finding.cloned().expect("there is always one")
    };
    let before = ingress(TcHook::Clsact(20));
    assert_eq!(before.severity, Warning, "{before:?}");
    assert!(before.what.contains("theirs runs before foreword_steer"), "{before:?}");
    let behind = ingress(TcHook::Clsact(21));
    assert!(behind.what.contains("foreword_steer will run before theirs"), "{behind:?}");
}

#[test]
fn programs_at_egress_are_named() {
    let report = broken_interface(|nic| {
        nic.egress.tcx = Ok(vec![program("foreword_egress", TcHook::Tcx)]);
    });
    assert!(report.findings().all(|finding| finding.check != "egress"), "ours is no news");
    let report = broken_interface(|nic| {
        nic.egress.tcx = Ok(vec![program("cil_to_netdev", TcHook::Tcx)]);
    });
    assert_fine(&report, "egress", &["cil_to_netdev (Cilium)"]);
}

#[test]
fn programs_that_could_not_be_seen_are_not_absent() {
    let report = broken_interface(|nic| nic.ingress.tcx = hidden());
    assert_bad(&report, Note, "ingress", &["the programs on tcx", "made up"]);
    let said = report.findings().any(|finding| finding.what.contains("no other program"));
    assert!(!said, "{report:#?}");
    let report = broken_interface(|nic| nic.egress.clsact = hidden());
    assert_bad(&report, Note, "egress", &["the programs on clsact", "made up"]);
}

#[test]
fn xdp_is_ours_or_a_note() {
    let with = |name: Result<&str, ()>, mode| {
        broken_interface(|nic| {
            let name = name.map_or_else(|()| hidden(), |name| Ok(name.to_owned()));
            nic.xdp = vec![XdpProgram { name, mode }];
        })
    };
    let ours = with(Ok("foreword_guard"), XdpMode::Driver);
    assert_fine(&ours, "xdp", &["foreword_guard runs in the driver"]);
    let theirs = with(Ok("cil_xdp_entry"), XdpMode::Driver);
    let words = ["cil_xdp_entry (Cilium) runs in the driver", "before foreword_steer"];
    assert_bad(&theirs, Note, "xdp", &words);
    assert_bad(&with(Ok("x"), XdpMode::Generic), Note, "xdp", &["generic XDP"]);
    assert_bad(&with(Ok("x"), XdpMode::Hardware), Note, "xdp", &["in hardware"]);
    assert_bad(&with(Err(()), XdpMode::Driver), Note, "xdp", &["name could not be seen"]);
}
