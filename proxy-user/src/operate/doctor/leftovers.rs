//! What others, and earlier runs, have left on the node.

use super::intent::Intent;
use super::{Finding, tunnels};
use crate::steer::survey::Survey;
use crate::steer::survey::leftovers::Leftovers;
use crate::steer::survey::services::Services;
use crate::sys::environment::Environment;
use crate::sys::fact::Fact;

pub fn judge(survey: &Survey, intent: &Intent, environment: Environment) -> Vec<Finding> {
    let mut findings = vec![leftovers(&survey.leftovers)];
    match &survey.tunnels {
        Ok(tunnels) => findings.extend(tunnels::judge(tunnels, intent, environment)),
        Err(unknown) => {
            findings.push(Finding::unknown("tunnels", "whether there are tunnels", unknown));
        }
    }
    findings.extend(services(&survey.services));
    findings
}

fn leftovers(seen: &Fact<Leftovers>) -> Finding {
    const CHECK: &str = "leftovers";
    let left = match seen {
        Ok(left) if left.is_empty() => {
            return Finding::ok(CHECK, "no killed instance has left anything");
        }
        Ok(left) => left,
        Err(unknown) => return Finding::unknown(CHECK, "what killed instances have left", unknown),
    };
    let folders = left.pins.iter().chain(&left.cgroups).map(|path| path.display().to_string());
    let links = left.links.iter().map(|link| format!("the link {link}"));
    let filters = left.filters.iter().map(|interface| format!("a filter on {interface}"));
    let all: Vec<_> = filters.chain(links).chain(folders).collect();
    let what = format!("a killed instance has left {}; all of it is idle", all.join(", "));
    Finding::note(
        CHECK,
        what,
        "the next start on the same interfaces removes it, or `foreword cleanup`",
    )
}

fn services(services: &Services) -> Vec<Finding> {
    const CHECK: &str = "services";
    let works =
        "it neither sees steered connections nor gets in their way, and balances Foreword's own";
    let mut findings = Vec::new();
    for (seen, mode) in [(&services.iptables, "iptables"), (&services.nftables, "nftables")] {
        match seen {
            Ok(true) => findings.push(Finding::ok(CHECK, format!("kube-proxy ({mode}): {works}"))),
            Ok(false) => {}
            Err(unknown) => {
                let what = format!("whether kube-proxy is there ({mode})");
                findings.push(Finding::unknown(CHECK, &what, unknown));
            }
        }
    }
    if services.ipvs {
        findings.push(Finding::note(
            CHECK,
            "kube-proxy (ipvs, judging by the interface kube-ipvs0): steering passes below it as below \
             the other modes, but is not tested with it",
            "nothing; or use kube-proxy's nftables mode, which replaces it",
        ));
    }
    if services.cilium {
        findings.push(Finding::note(
            CHECK,
            "Cilium is there (judging by the interface cilium_host), and may balance services itself, \
             with eBPF",
            "make sure that its programs run after foreword_steer: see the ingress lines",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "no kube-proxy, and no Cilium"));
    }
    findings
}
