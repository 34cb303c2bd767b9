//! What is on a node already: programs of others, and what instances of ours left.

use std::path::Path;

use netlab::{PATIENCE, hooks, lab, output_of, wait_until};

use super::Visit;
use crate::FOREWORD;
use crate::footprint::NodeState;
use crate::probe::{FLAGS, cleanup};
use crate::stranger::{Place, Stranger};

#[apply(lab_test)]
fn programs_of_others_are_named_in_their_order() {
    if !hooks().contains(&"tcx") {
        return;
    }
    let lab = lab();
    let _theirs = Stranger::at_tc(&lab.node, "eth0", "cil_from_netde", Place::TcxLast);
    let before = Visit::of(&lab.node, &["eth0"]);
    let order = "will run before cil_from_netde (Cilium)";
    before.assert_fit().assert_says("ingress", "ok", &[order]);

    let _foreword = FOREWORD.attach(&lab.node, FLAGS);
    let _others = Stranger::at_tc(&lab.node, "eth0", "cali_from_node", Place::Clsact(1));
    let order = "foreword_steer runs before cil_from_netde (Cilium), cali_from_node (Calico)";
    Visit::of(&lab.node, &["eth0"]).assert_fit().assert_says("ingress", "ok", &[order]);
}

#[apply(lab_test)]
fn a_program_before_ours_is_a_warning() {
    for hook in hooks() {
        let lab = lab();
        let _foreword = FOREWORD.attach(&lab.node, &format!("{FLAGS} --hook {hook}"));
        let (place, mend) = match *hook {
            "tcx" => (Place::TcxFirst, "--take-over"),
            _ => (Place::Clsact(1), "priority above 20"),
        };
        let _theirs = Stranger::at_tc(&lab.node, "eth0", "their_own_prog", place);
        let visit = Visit::of(&lab.node, &["eth0"]);
        let words = ["their_own_prog runs before foreword_steer", mend];
        visit.assert_warned().assert_says("ingress", "warning", &words);
    }
}

#[apply(lab_test)]
fn filters_of_others_are_named() {
    let lab = lab();
    for arguments in [
        "qdisc add dev eth0 clsact",
        "filter add dev eth0 ingress prio 30 protocol all bpf bytecode 1,6_0_0_0",
        "filter add dev eth0 egress prio 30 protocol ip bpf bytecode 1,6_0_0_0",
    ] {
        let mut tc = lab.node.command("tc");
        // The bytecode, which matches nothing, is one word with blanks in it.
        tc.args(arguments.split(' ').map(|word| word.replace('_', " ")));
        output_of(tc);
    }
    let visit = Visit::of(&lab.node, &["eth0"]);
    visit.assert_fit().assert_says("ingress", "ok", &["will run before a bpf filter, "]);
    visit.assert_says("egress", "ok", &["a bpf filter: replies"]);
}

#[apply(lab_test)]
fn an_xdp_program_of_others_is_named() {
    let lab = lab();
    let _theirs = Stranger::at_xdp(&lab.node, "eth0", "xdp_dispatcher");
    let visit = Visit::of(&lab.node, &["eth0"]);
    let words = ["xdp_dispatcher (libxdp) runs in generic XDP", "--guard-hook"];
    visit.assert_fit().assert_says("xdp", "note", &words);
    Visit::of(&lab.node, &["eth1"]).assert_fit().assert_has_no("xdp");
}

#[apply(lab_test)]
fn what_a_killed_instance_left_is_named() {
    let lab = lab();
    let mut foreword = FOREWORD.attach(&lab.node, &format!("{FLAGS} --hook clsact"));
    let pins = format!("/sys/fs/bpf/foreword/{}", foreword.pid());
    foreword.kill().expect("it runs");
    // The kernel takes its time to remove a dead namespace's links.
    let veth = format!("link show fwd{}", foreword.pid());
    wait_until(PATIENCE, "the veth's end", || lab.node.ip(&veth).is_err()).expect("it goes");
    let before = NodeState::of(&lab.node);
    let visit = Visit::of(&lab.node, &["eth0"]);
    let words = ["a filter on eth0", "foreword cleanup"];
    visit.assert_fit().assert_says("leftovers", "note", &words).assert_has_no("steered");
    // Pins are the whole node's: another test's start may have swept them.
    if Path::new(&pins).is_dir() {
        visit.assert_says("leftovers", "note", &[&pins]);
    }
    before.assert_restored(&lab.node);

    cleanup(&lab.node);
    let visit = Visit::of(&lab.node, &["eth0"]);
    assert!(!visit.says("leftovers", "note", &["a filter on eth0"]), "{:#}", visit.report);
    assert!(!visit.says("leftovers", "note", &[&pins]), "{:#}", visit.report);
}

#[apply(lab_test)]
fn a_hold_without_a_process_is_a_warning() {
    for hook in hooks() {
        let lab = lab();
        let mut foreword =
            FOREWORD.attach(&lab.node, &format!("{FLAGS} --when-absent drop --hook {hook}"));
        Visit::of(&lab.node, &["eth0"]).assert_fit().assert_says("hold", "ok", &["stay closed"]);
        foreword.kill().expect("it runs");
        let visit = Visit::of(&lab.node, &["eth0"]);
        visit.assert_warned().assert_says("hold", "warning", &["foreword cleanup"]);
        cleanup(&lab.node);
        // The kernel lets go of an unpinned link a moment later.
        let is_lifted =
            || Visit::of(&lab.node, &["eth0"]).findings().all(|it| it["check"] != "hold");
        wait_until(PATIENCE, "the hold's end", is_lifted)
            .unwrap_or_else(|error| panic!("{hook}: {error}"));
    }
}
