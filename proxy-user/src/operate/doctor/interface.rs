//! The interfaces that load balancers' traffic arrives by.

use super::{Finding, order};
use crate::steer::survey::Survey;
use crate::steer::survey::interfaces::Interface;

/// What IPv6 asks of a link, in bytes.
const LEAST_MTU: u32 = 1280;

pub fn judge(survey: &Survey) -> Vec<Finding> {
    let mut findings: Vec<_> =
        survey.absent.iter().map(|name| absent(name, &survey.names)).collect();
    match &survey.interfaces {
        Ok(interfaces) => {
            if interfaces.is_empty() && survey.absent.is_empty() {
                findings.push(none());
            }
            let of = |interface| one(interface, survey.features.tcx);
            findings.extend(interfaces.iter().flat_map(of));
        }
        Err(unseen) => findings.push(Finding::unseen("interface", "the interfaces", unseen)),
    }
    findings
}

fn absent(name: &str, names: &[String]) -> Finding {
    let what = format!("there is no such interface; there is {}", names.join(", "));
    let mend = "name one that is there; attach also takes patterns, such as 'eth*'";
    Finding::fatal("interface", what, mend).on(name)
}

fn none() -> Finding {
    let what = "no interface is up that has Ethernet's framing, loopback aside";
    Finding::warning("interface", what, "bring one up, or name the ones that are meant")
}

fn one(interface: &Interface, has_tcx: bool) -> Vec<Finding> {
    let mut findings = vec![state(interface)];
    findings.extend(vlans(interface));
    findings.extend(steered(interface));
    findings.extend(held(interface));
    findings.extend(order::judge(interface, has_tcx));
    findings.into_iter().map(|finding| finding.on(&interface.name)).collect()
}

fn state(interface: &Interface) -> Finding {
    const CHECK: &str = "interface";
    let Interface { mtu, framing, name, .. } = interface;
    if !interface.is_ethernet {
        let what = format!("its frames don't begin as Ethernet's ({framing}), and are not steered");
        return Finding::fatal(CHECK, what, "name an interface with Ethernet's framing");
    }
    if !interface.is_up {
        let mend = format!("ip link set {name} up");
        return Finding::warning(CHECK, "it is down: nothing arrives by it", mend);
    }
    if *mtu < LEAST_MTU {
        let what = format!("MTU {mtu} is too small for IPv6, and so is the way inside");
        return Finding::warning(
            CHECK,
            what,
            format!("ip link set {name} mtu {LEAST_MTU} or more"),
        );
    }
    let device = match (&interface.kind, &interface.driver) {
        (Some(kind), _) => format!("virtual ({kind})"),
        (None, Some(driver)) => format!("driver {driver}"),
        (None, None) => "driver unknown".to_owned(),
    };
    Finding::ok(CHECK, format!("up, Ethernet, MTU {mtu}, {device}; {}", guard(interface)))
}

/// Where the guard would stand by itself.
fn guard(interface: &Interface) -> String {
    match &interface.native_xdp {
        Ok(true) if interface.suits_native_xdp => "its driver has XDP: the guard stands there",
        Ok(true) => {
            "its driver has XDP, but the guard stands in TC: it is virtual, or has sub-interfaces"
        }
        Ok(false) => "its driver has no XDP: the guard stands in TC",
        Err(unseen) => return format!("whether its driver has XDP is unknown: {unseen}"),
    }
    .to_owned()
}

fn vlans(interface: &Interface) -> Option<Finding> {
    (!interface.vlans.is_empty()).then(|| {
        let vlans = interface.vlans.join(", ");
        Finding::note(
            "vlans",
            format!("tagged frames belong to {vlans}, and are not steered here"),
            format!("name {vlans} as well, if load balancers' traffic comes tagged"),
        )
    })
}

fn steered(interface: &Interface) -> Option<Finding> {
    let who = match interface.steered_by? {
        0 => "of another pid namespace".to_owned(),
        pid => format!("(pid {pid})"),
    };
    let what = format!("steered by a Foreword {who}; a second one succeeds it with --take-over");
    Some(Finding::ok("steered", what))
}

fn held(interface: &Interface) -> Option<Finding> {
    const CHECK: &str = "hold";
    match (&interface.hold, interface.steered_by) {
        (Ok(false), _) => None,
        (Ok(true), Some(_)) => Some(Finding::ok(CHECK, "ports stay closed if Foreword ends")),
        (Ok(true), None) => Some(Finding::warning(
            CHECK,
            "no Foreword runs, and new connections to held ports are dropped (--when-absent drop)",
            "start it again, or open them with `foreword cleanup`",
        )),
        (Err(unseen), _) => Some(Finding::unseen(CHECK, "whether ports are held", unseen)),
    }
}
