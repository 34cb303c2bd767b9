//! The interfaces that load balancers' traffic arrives by.

use super::intent::Intent;
use super::{Finding, Section, guard, order};
use crate::config::settings::{GuardHook, InterfacePattern};
use crate::steer::survey::Survey;
use crate::steer::survey::interfaces::{Interface, Role, SteeredBy};
use crate::sys::environment::Environment;

const CHECK: &str = "interface";

/// What IPv6 asks of a link, in bytes.
const LEAST_MTU: u32 = 1280;

pub fn judge(survey: &Survey, intent: &Intent, environment: Environment) -> Vec<Option<Section>> {
    let absent = survey.absent.iter();
    let mut sections: Vec<_> = absent
        .map(|pattern| Section::on(&pattern.to_string(), vec![absence(pattern, &survey.names)]))
        .collect();
    match &survey.interfaces {
        Ok(interfaces) => {
            if interfaces.is_empty() && survey.absent.is_empty() {
                sections.push(Section::new("interfaces", vec![none()]));
            }
            let tcx = intent.uses_tcx(survey.features.tcx);
            let of = |it: &Interface| {
                Section::on(&it.name, one(it, tcx, intent.guard_hook(), environment))
            };
            sections.extend(interfaces.iter().map(of));
        }
        Err(unknown) => {
            let finding = Finding::unknown(CHECK, "the interfaces", unknown);
            sections.push(Section::new("interfaces", vec![finding]));
        }
    }
    sections
}

fn absence(pattern: &InterfacePattern, names: &[String]) -> Finding {
    let there = names.join(", ");
    if pattern.exact().is_some() {
        let what = format!("there is no such interface (found: {there})");
        return Finding::fatal(CHECK, what, "name one of these, or a pattern such as 'eth*'");
    }
    let what = format!("no interface matches that now (found: {there})");
    Finding::note(CHECK, what, "nothing, if it is created later: Foreword attaches to it then")
}

fn none() -> Finding {
    let what = "no interface with Ethernet framing is up, except loopback";
    Finding::warning(CHECK, what, "bring one up, or name the ones that you mean")
}

fn one(
    interface: &Interface,
    uses_tcx: bool,
    wanted: Option<GuardHook>,
    environment: Environment,
) -> Vec<Finding> {
    let mut findings = vec![state(interface, environment)];
    if interface.role == Role::Protected {
        findings.extend(wanted.map(|wanted| guard::judge(interface, wanted)));
    }
    findings.extend(vlans(interface));
    findings.extend(steered(interface, environment));
    findings.extend(held(interface));
    findings.extend(order::judge(interface, uses_tcx, environment));
    findings
}

fn state(interface: &Interface, environment: Environment) -> Finding {
    let Interface { mtu, framing, name, .. } = interface;
    if !interface.is_ethernet {
        let what = format!("its frames are not Ethernet frames ({framing}), and are not steered");
        return Finding::fatal(CHECK, what, "name an interface with Ethernet framing");
    }
    if !interface.is_up {
        let fix = environment.command(&format!("ip link set {name} up"));
        return Finding::warning(CHECK, "it is down: nothing arrives on it", fix);
    }
    if *mtu < LEAST_MTU {
        let what =
            format!("MTU {mtu} is too small for IPv6, and so is the veth's, which follows it");
        return Finding::warning(
            CHECK,
            what,
            environment.command(&format!("ip link set {name} mtu {LEAST_MTU} or more")),
        );
    }
    let device = match (&interface.kind, &interface.driver) {
        (Some(kind), _) => format!("virtual ({kind})"),
        (None, Some(driver)) => format!("driver {driver}"),
        (None, None) => "driver unknown".to_owned(),
    };
    let role = match interface.role {
        Role::Protected => "",
        Role::Upstream => "; upstreams answer on it",
    };
    Finding::ok(CHECK, format!("up, Ethernet, MTU {mtu}, {device}{role}"))
}

fn vlans(interface: &Interface) -> Option<Finding> {
    (!interface.vlans.is_empty()).then(|| {
        let vlans = interface.vlans.join(", ");
        Finding::note(
            "vlans",
            format!("tagged frames belong to {vlans}, and are not steered here"),
            format!("name {vlans} as well, if load balancers send tagged frames"),
        )
    })
}

fn steered(interface: &Interface, environment: Environment) -> Option<Finding> {
    const CHECK: &str = "steered";
    let who = match &interface.steered_by {
        Ok(SteeredBy::Nobody) => return None,
        Ok(SteeredBy::Process(0)) => "of another pid namespace".to_owned(),
        Ok(SteeredBy::Process(pid)) => format!("(pid {pid})"),
        Ok(SteeredBy::Elsewhere) => {
            return Some(Finding::fatal(
                CHECK,
                "by a Foreword that has no lock in /run/foreword: it runs in a container of its \
                 own, or this is one; a second one would be refused",
                environment.pick([
                    "mount the node's /run/foreword at /run/foreword in its container (hostPath, or \
                     --volume)",
                    "mount the node's /run/foreword at /run/foreword in its container, and keep \
                     RuntimeDirectory=foreword in the unit",
                    "mount the host's /run/foreword at /run/foreword in both (--volume)",
                    "mount the node's /run/foreword at /run/foreword as a hostPath volume in both",
                ]),
            ));
        }
        Err(unknown) => {
            return Some(Finding::unknown(CHECK, "whether a Foreword steers it", unknown));
        }
    };
    let what = format!(
        "steered by a Foreword {who}; a second one takes over from it ({})",
        environment.pick([
            "`foreword run`, or attach with --take-over",
            "another instance of the unit, or attach with --take-over",
            "another container of it, or attach with --take-over",
            "another pod, as in a rollout; attach with --take-over",
        ])
    );
    Some(Finding::ok(CHECK, what))
}

fn held(interface: &Interface) -> Option<Finding> {
    const CHECK: &str = "hold";
    let is_steered =
        matches!(interface.steered_by, Ok(SteeredBy::Process(_) | SteeredBy::Elsewhere));
    match (&interface.hold, is_steered) {
        (Ok(false), _) => None,
        (Ok(true), true) => Some(Finding::ok(CHECK, "ports stay closed if Foreword ends")),
        (Ok(true), false) => Some(Finding::warning(
            CHECK,
            "no Foreword runs, and new connections to held ports are dropped (--when-absent drop)",
            "start it again, or open them with `foreword cleanup`",
        )),
        (Err(unknown), _) => Some(Finding::unknown(CHECK, "whether ports are held", unknown)),
    }
}
