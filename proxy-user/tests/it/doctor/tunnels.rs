//! Real tunnels, which the kernel lists, and what the doctor says of them.

use netlab::{Config, Lab, Netns, OFF, PORT, REQUIRE, Rule, lab};

use super::Visit;
use crate::FOREWORD;

/// Each kind: its words for `ip link add`, and whether it can be steered itself.
const KINDS: [(&str, &str, bool); 7] = [
    ("vxlan", "id 7 dev eth0 dstport 4789", true),
    ("geneve", "id 7 remote 192.0.2.77", true),
    ("gretap", "local 192.0.2.78 remote 192.0.2.77", true),
    ("gre", "local 192.0.2.78 remote 192.0.2.77", false),
    ("ipip", "local 192.0.2.78 remote 192.0.2.77", false),
    ("sit", "local 192.0.2.78 remote 192.0.2.77", false),
    ("wireguard", "", false),
];

/// Makes a tunnel that is up; whether this kernel has the kind.
fn has_tunnel(node: &Netns, kind: &str, words: &str) -> bool {
    let made = node.ip(&format!("link add tun-{kind} type {kind} {words}"));
    if let Err(error) = made {
        // Whatever else is wrong with it is for the assertions.
        assert!(error.to_string().contains("Unknown device type"), "{kind}: {error:#}");
        return false;
    }
    node.ip(&format!("link set tun-{kind} up")).expect("a tunnel can be brought up");
    true
}

fn visit(lab: &Lab, interfaces: &str) -> Visit {
    let rule = Rule::new("web", 80).inbound("require", ["192.0.2.0/28"]);
    Visit::with_file(&lab.node, Config::on(interfaces).rule(rule))
}

#[apply(lab_test)]
fn tunnels_behind_steering_are_named() {
    let lab = lab();
    visit(&lab, "eth0").assert_has_no("tunnels");
    let there: Vec<_> =
        KINDS.into_iter().filter(|(kind, words, _)| has_tunnel(&lab.node, kind, words)).collect();
    for kind in KINDS.iter().filter(|kind| !there.contains(kind)) {
        println!("skipped: this kernel has no {}", kind.0);
    }
    assert!(!there.is_empty(), "this kernel has no tunnel of any kind");
    let said = visit(&lab, "eth0");
    said.assert_warned();
    for (kind, _, is_ethernet) in there {
        let mend = if is_ethernet { "protect tun-" } else { "no Ethernet framing" };
        let name = format!("tun-{kind} ({kind})");
        said.assert_says("tunnels", "warning", &[&name, "port 80", mend]);
    }
    // Nobody has said what is meant to run: what has Ethernet's framing would be steered.
    let unsaid = Visit::of(&lab.node, &[]);
    unsaid.assert_fit();
    assert!(!unsaid.says("tunnels", "note", &["vxlan"]), "{:#}", unsaid.report);
}

#[apply(lab_test)]
fn a_tunnel_is_no_concern_where_steering_meets_it() {
    let lab = lab();
    if !has_tunnel(&lab.node, "vxlan", "id 7 dev eth0 dstport 4789") {
        println!("skipped: this kernel has no vxlan");
        return;
    }
    visit(&lab, "eth0").assert_says("tunnels", "warning", &["over eth0"]);
    visit(&lab, "eth0, tun-vxlan").assert_has_no("tunnels");
    visit(&lab, "eth1").assert_has_no("tunnels");
    lab.node.ip("link set tun-vxlan down").expect("it is there");
    visit(&lab, "eth0").assert_has_no("tunnels");
}

#[apply(lab_test)]
fn a_start_says_that_firewalls_see_nothing() {
    let said = |flags: &str| {
        let lab = lab();
        let output = FOREWORD
            .attach(&lab.node, &format!("eth0 --port {PORT} {flags} --outbound none"))
            .output();
        output.lines().filter(|line| line.starts_with("note ")).collect::<String>()
    };
    assert_eq!(said(REQUIRE), "");
    let direct = said(&format!("{REQUIRE} --untrusted direct"));
    assert!(direct.contains("NetworkPolicy") && direct.contains("--untrusted refuse"), "{direct}");
    let off = said(OFF);
    assert!(off.contains("NetworkPolicy") && off.contains("--trust"), "{off}");
}
