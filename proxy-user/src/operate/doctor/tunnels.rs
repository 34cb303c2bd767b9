//! Tunnels, whose inner packets come out behind steering.

use super::Finding;
use super::intent::Intent;
use crate::config::settings::Rule;
use crate::steer::survey::tunnels::{Tunnel, Tunnels, Underlay};
use crate::sys::environment::Environment;

const CHECK: &str = "tunnels";

pub fn judge(tunnels: &Tunnels, intent: &Intent, environment: Environment) -> Vec<Finding> {
    let unsteered = tunnels.links.iter().filter(|it| is_unsteered(it));
    let labels = tunnels.mpls.iter().map(|interface| on_mpls(interface, intent, environment));
    unsteered.map(|tunnel| on_link(tunnel, intent)).chain(labels).collect()
}

/// A tunnel whose outer packets pass an interface of ours, and whose inner ones do not.
fn is_unsteered(tunnel: &Tunnel) -> bool {
    !tunnel.is_protected && tunnel.underlay != Underlay::Unprotected
}

fn on_link(tunnel: &Tunnel, intent: &Intent) -> Finding {
    let Tunnel { name, kind, .. } = tunnel;
    let way = match &tunnel.underlay {
        Underlay::Protected(interface) => format!(" over {interface}"),
        _ => String::new(),
    };
    let what = format!(
        "{name} ({kind}) is up, and what arrives inside it{way} is not steered: {}",
        consequence(intent)
    );
    let fix = if tunnel.is_ethernet {
        format!(
            "protect {name} as well (interfaces), or keep ruled ports closed there (a firewall)"
        )
    } else {
        format!("keep ruled ports closed on {name} (a firewall): it has no Ethernet framing")
    };
    finding(intent, what, fix)
}

fn on_mpls(interface: &str, intent: &Intent, environment: Environment) -> Finding {
    let what = format!(
        "{interface} takes packets with MPLS labels, and what follows a label is not steered: {}",
        consequence(intent)
    );
    let fix = format!("sysctl net.mpls.conf.{interface}.input=0, unless it is needed");
    finding(intent, what, environment.command(&fix))
}

/// Where a rule turns somebody away, whoever gets past it matters.
fn finding(intent: &Intent, what: String, fix: String) -> Finding {
    if intent.rules.iter().any(|rule| !rule.admits_anybody()) {
        Finding::warning(CHECK, what, fix)
    } else {
        Finding::note(CHECK, what, fix)
    }
}

fn consequence(intent: &Intent) -> String {
    let ports = intent.rules.iter().filter(|rule| !rule.admits_anybody());
    let ports: Vec<_> = ports.map(|Rule { ports, .. }| ports.to_string()).collect();
    match ports.as_slice() {
        [] => "connections in there reach servers as if Foreword were not here".to_owned(),
        _ => format!(
            "connections in there to port {} reach the server with whatever they send, a forged \
             header included",
            ports.join(", ")
        ),
    }
}
