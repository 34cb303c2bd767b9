//! The kernel, and what it can do.

use super::Finding;
use super::facts::Facts;
use super::intent::Intent;
use crate::config::settings::Hook;
use crate::sys::environment::Environment;
use crate::sys::fact::Fact;

/// The oldest kernel with everything that is needed.
const OLDEST: (u32, u32) = (5, 10);
const NEWER: &str = "run a kernel of 5.10 or newer; from 6.6 on it has everything";

/// What is said about a feature.
struct Feature<'a> {
    check: &'static str,
    seen: &'a Fact<bool>,
    /// What Foreword does with it.
    use_: &'static str,
}

pub fn judge(facts: &Facts, intent: &Intent) -> Vec<Finding> {
    let mut findings = vec![release(&facts.kernel.release)];
    let features = &facts.survey.features;
    let needed = [
        Feature {
            check: "sk_lookup",
            seen: &features.sk_lookup,
            use_: "listen on any address and port",
        },
        Feature {
            check: "redirect-peer",
            seen: &features.redirect_peer,
            use_: "redirect packets past the host's rules",
        },
        Feature {
            check: "redirect-neigh",
            seen: &features.redirect_neigh,
            use_: "send replies straight to the wire",
        },
    ];
    findings.extend(needed.iter().map(feature));
    findings.push(veth(&features.veth, facts.environment));
    findings.push(tcx(features.tcx, intent.hook()));
    let clsact = || clsact(&features.clsact, facts.environment);
    findings.extend((!intent.uses_tcx(features.tcx)).then(clsact));
    findings.push(btf(&features.btf));
    findings.push(lockdown(&facts.kernel.lockdown));
    findings
}

fn release(release: &Fact<String>) -> Finding {
    const CHECK: &str = "kernel";
    let release = match release {
        Ok(release) => release,
        Err(unknown) => return Finding::unknown(CHECK, "the kernel's release", unknown),
    };
    match version(release) {
        Some(version) if version >= OLDEST => Finding::ok(CHECK, format!("Linux {release}")),
        Some(_) => Finding::fatal(CHECK, format!("Linux {release} is too old"), NEWER),
        None => Finding::note(
            CHECK,
            format!("the kernel's release is '{}'", release.escape_debug()),
            "make sure that it is Linux 5.10 or newer",
        ),
    }
}

/// The version that a release begins with: 6.12 as `(6, 12)`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn feature(feature: &Feature<'_>) -> Finding {
    let Feature { check, seen, use_ } = *feature;
    match seen {
        Ok(true) => Finding::ok(check, format!("the kernel has it (to {use_})")),
        Ok(false) => {
            Finding::fatal(check, format!("the kernel lacks what is needed to {use_}"), NEWER)
        }
        Err(unknown) => Finding::unknown(check, &format!("what is needed to {use_}"), unknown),
    }
}

fn veth(seen: &Fact<bool>, environment: Environment) -> Finding {
    let fix = environment.command("install the kernel's module veth (CONFIG_VETH)");
    part("veth", seen, "reach the private network namespace", &fix)
}

fn clsact(seen: &Fact<bool>, environment: Environment) -> Finding {
    let fix = environment.command(
        "install the kernel's modules sch_ingress and cls_bpf (CONFIG_NET_CLS_BPF), or run a kernel of \
         6.6 or newer",
    );
    part("clsact", seen, "attach programs as filters", &fix)
}

/// What is said of a part of the kernel that can be a module.
fn part(check: &'static str, seen: &Fact<bool>, use_: &str, fix: &str) -> Finding {
    match seen {
        Ok(true) => Finding::ok(check, format!("the kernel has it (to {use_})")),
        Ok(false) => {
            Finding::fatal(check, format!("the kernel lacks what is needed to {use_}"), fix)
        }
        // Only using it would tell.
        Err(unknown) => Finding::note(
            check,
            format!("whether the kernel has it (to {use_}) is unknown: {unknown}"),
            format!("nothing, unless attach fails without it; then {fix}"),
        ),
    }
}

fn tcx(has_tcx: bool, hook: Hook) -> Finding {
    const CHECK: &str = "tcx";
    match (has_tcx, hook) {
        (true, Hook::Clsact) => Finding::note(
            CHECK,
            "the kernel has it, but programs are to be attached as clsact filters, which outlive a \
             killed process",
            "write hook: auto, unless you have a reason",
        ),
        (true, _) => {
            Finding::ok(CHECK, "programs are attached by links, which end with the process")
        }
        (false, Hook::Tcx) => Finding::fatal(
            CHECK,
            "the kernel has none (before 6.6), and hook: tcx asks for it",
            "write hook: auto, or run a kernel of 6.6 or newer",
        ),
        (false, _) => Finding::note(
            CHECK,
            "the kernel has none (before 6.6): programs are attached as clsact filters, which \
             outlive a killed process, let everything pass, and go with the next start or `foreword \
             cleanup`",
            "nothing, or run a kernel of 6.6 or newer",
        ),
    }
}

fn btf(seen: &Fact<bool>) -> Finding {
    const CHECK: &str = "btf";
    match seen {
        Ok(true) => Finding::ok(CHECK, "bpftool shows maps with their fields' names"),
        Ok(false) => Finding::note(
            CHECK,
            "the kernel takes no BTF: bpftool shows bytes without names",
            "nothing; it only helps to read maps",
        ),
        Err(unknown) => Finding::unknown(CHECK, "whether the kernel takes BTF", unknown),
    }
}

fn lockdown(seen: &Fact<Option<String>>) -> Finding {
    const CHECK: &str = "lockdown";
    match seen.as_ref().map(Option::as_deref) {
        Ok(Some("confidentiality")) => Finding::note(
            CHECK,
            "confidentiality: eBPF may not read the kernel's memory, which Foreword's programs don't",
            "if attach is refused, start the kernel with lockdown=integrity",
        ),
        Ok(Some(mode)) => {
            Finding::ok(CHECK, format!("{mode}: everything that is needed is allowed"))
        }
        Ok(None) => Finding::ok(CHECK, "not in effect"),
        Err(unknown) => Finding::unknown(CHECK, "the lockdown mode", unknown),
    }
}
