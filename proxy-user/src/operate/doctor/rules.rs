//! What the rules ask of the node and of the network around it.

use super::Finding;
use super::intent::Intent;
use crate::advice::{self, Advice};
use crate::config::Syntax;
use crate::config::settings::{Rule, UpstreamAddress};
use crate::steer::survey::Survey;

const CHECK: &str = "upstream";

pub fn judge(survey: &Survey, intent: &Intent) -> Vec<Finding> {
    let advice = survey.warnings.iter().map(|warning| Advice::new(warning, Syntax::File));
    let mut findings: Vec<_> =
        advice.map(|advice| Finding::warning(CHECK, advice.what, advice.fix)).collect();
    let long = advice::on_long_headers(&intent.rules, Syntax::File).into_iter();
    findings.extend(long.map(|advice| Finding::warning("header", advice.what, advice.fix)));
    let open = advice::on_firewalls(&intent.rules, Syntax::File);
    findings.extend(open.map(|advice| Finding::note("firewall", advice.what, advice.fix)));
    for rule in intent.showing_clients() {
        findings.push(way_back(rule));
        findings.extend(survey.services.has_kube_proxy().then(|| passed_by(rule)));
    }
    findings
}

/// Nothing on this node tells by which way another host would answer.
fn way_back(rule: &Rule) -> Finding {
    Finding::note(
        CHECK,
        format!(
            "rule {}: the upstream sees the client's address, so its answers have to come back \
             through this node (source: client)",
            rule.name
        ),
        "nothing for a pod or server on this node; another host needs this node as its route to the \
         clients",
    )
}

fn passed_by(rule: &Rule) -> Finding {
    let fix = match rule.upstream.address {
        UpstreamAddress::Original => {
            "write source: node, unless load balancers send to pods' and servers' own addresses"
        }
        UpstreamAddress::Fixed(_) | UpstreamAddress::Named(_) => {
            "name a pod's or a server's own address"
        }
    };
    let what = format!(
        "rule {}: kube-proxy is bypassed, and nobody answers at a cluster address or node port \
         (source: client)",
        rule.name
    );
    Finding::note(CHECK, what, fix)
}
