//! Tunnels, whose inner packets nobody steers; and the firewalls that don't see what is steered.

use super::super::Severity::{Note, Warning};
use super::super::intent::Intent;
use super::super::{Report, judge};
use super::{assert_bad, broken, healthy, hidden};
use crate::config::{Syntax, file, validate};
use crate::steer::survey::tunnels::{Tunnel, Tunnels, Underlay};

fn tunnel() -> Tunnel {
    Tunnel {
        name: "flannel.1".to_owned(),
        kind: "vxlan".to_owned(),
        is_ethernet: true,
        is_protected: false,
        underlay: Underlay::Protected("eth0".to_owned()),
    }
}

/// A file with one rule for port 443, of which this is the inbound part.
fn intent(inbound: &str) -> Intent {
    let text = format!(
        "interfaces: [eth0]\nrules:\n  - name: web\n    ports: [443]\n    inbound: {inbound}\n    \
         outbound: {{version: none}}\n"
    );
    let config = file::parse(&text).expect("a file");
    Intent::from(validate(&config, Syntax::File).expect("a valid one"))
}

const STRICT: &str = "{mode: require, trusted: [10.0.0.0/28]}";

fn with(intent: &Intent, how: impl FnOnce(&mut Tunnel)) -> Report {
    let mut tunnel = tunnel();
    how(&mut tunnel);
    let mut facts = healthy();
    facts.survey.tunnels = Ok(Tunnels { links: vec![tunnel], mpls: Vec::new() });
    judge(&facts, intent)
}

#[test]
fn a_tunnel_behind_steering_is_a_warning_where_a_rule_turns_somebody_away() {
    let words = ["flannel.1 (vxlan)", "over eth0", "port 443", "protect flannel.1 as well"];
    assert_bad(&with(&intent(STRICT), |_| {}), Warning, "tunnels", &words);
    let words = ["flannel.1 (vxlan)", "as if Foreword were not here"];
    assert_bad(&with(&Intent::default(), |_| {}), Note, "tunnels", &words);
    let unbound = with(&intent(STRICT), |tunnel| tunnel.underlay = Underlay::Any);
    assert_bad(&unbound, Warning, "tunnels", &["what arrives inside it is not steered"]);
}

#[test]
fn a_tunnel_without_ethernet_can_only_be_closed() {
    let report = with(&intent(STRICT), |tunnel| {
        (tunnel.name, tunnel.kind) = ("wg0".to_owned(), "wireguard".to_owned());
        tunnel.is_ethernet = false;
    });
    assert_bad(&report, Warning, "tunnels", &["wg0 (wireguard)", "closed on wg0", "no Ethernet"]);
}

#[test]
fn a_tunnel_that_is_steered_or_passes_elsewhere_is_nothing() {
    let steered = with(&intent(STRICT), |tunnel| tunnel.is_protected = true);
    let elsewhere = with(&intent(STRICT), |tunnel| tunnel.underlay = Underlay::Unprotected);
    for report in [steered, elsewhere] {
        assert!(report.findings().all(|finding| finding.check != "tunnels"), "{report:#?}");
    }
}

#[test]
fn labels_are_tunnels_too() {
    let mut facts = healthy();
    facts.survey.tunnels = Ok(Tunnels { links: Vec::new(), mpls: vec!["eth0".to_owned()] });
    let words = ["eth0", "MPLS", "port 443", "net.mpls.conf.eth0.input=0"];
    assert_bad(&judge(&facts, &intent(STRICT)), Warning, "tunnels", &words);
}

#[test]
fn tunnels_that_could_not_be_seen_are_no_good_sign() {
    let report = broken(|facts| facts.survey.tunnels = hidden());
    assert_bad(&report, Note, "tunnels", &["made up"]);
}

#[test]
fn a_rule_that_lets_anybody_in_passes_by_firewalls() {
    let words = ["rule web", "NetworkPolicy", "inbound.trusted", "inbound.untrusted: refuse"];
    for inbound in [
        "{mode: require, trusted: [10.0.0.0/28], untrusted: direct}",
        "{mode: \"off\", trusted: [10.0.0.0/28], untrusted: direct}",
        "{mode: \"off\"}",
    ] {
        assert_bad(&judge(&healthy(), &intent(inbound)), Note, "firewall", &words);
    }
    for inbound in [STRICT, "{mode: \"off\", trusted: [10.0.0.0/28]}"] {
        let report = judge(&healthy(), &intent(inbound));
        assert!(report.findings().all(|finding| finding.check != "firewall"), "{report:#?}");
    }
}
