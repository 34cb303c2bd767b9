//! The kernel's settings that matter, and those that people think matter.

use super::facts::{Facts, Setting};
use super::intent::Intent;
use super::{Finding, ports};
use crate::sys::environment::Environment;

pub fn judge(facts: &Facts, intent: &Intent) -> Vec<Finding> {
    let (settings, environment) = (&facts.settings, facts.environment);
    let all = [
        Some(jit(&settings.jit, environment)),
        jit_harden(&settings.jit_harden),
        unprivileged(&settings.unprivileged_bpf, environment),
        stats(&settings.bpf_stats, environment),
        syncookies(&settings.syncookies, environment),
        rp_filter(&settings.rp_filter, intent),
        src_valid_mark(&settings.src_valid_mark),
        Some(forwarding(&settings.forwarding)),
        ports::judge(facts),
    ];
    all.into_iter().flatten().collect()
}

/// A setting's value as a word; `None` if it could not be had.
fn word(setting: &Setting) -> Option<&str> {
    setting.as_ref().ok()?.as_deref()
}

fn jit(setting: &Setting, environment: Environment) -> Finding {
    const CHECK: &str = "bpf-jit";
    match (word(setting), setting) {
        (Some("0"), _) => Finding::warning(
            CHECK,
            "net.core.bpf_jit_enable is 0: programs are interpreted, at several times the cost",
            environment.command("sysctl net.core.bpf_jit_enable=1"),
        ),
        (Some(_), _) => Finding::ok(CHECK, "programs are compiled"),
        (None, Err(unknown)) => Finding::unknown(CHECK, "net.core.bpf_jit_enable", unknown),
        (None, Ok(_)) => Finding::note(
            CHECK,
            "net.core.bpf_jit_enable is shown in the node's own network namespace only",
            "make sure that it is not 0 there",
        ),
    }
}

/// Readable by root only, and good as it is in most places.
fn jit_harden(setting: &Setting) -> Option<Finding> {
    (word(setting)? == "2").then(|| {
        Finding::note(
            "bpf-jit-harden",
            "net.core.bpf_jit_harden is 2: root's programs are hardened, too, and slower",
            "1 hardens ordinary users' programs only",
        )
    })
}

fn unprivileged(setting: &Setting, environment: Environment) -> Option<Finding> {
    const CHECK: &str = "bpf-users";
    Some(match word(setting)? {
        "0" => Finding::note(
            CHECK,
            "kernel.unprivileged_bpf_disabled is 0: any user may load some kinds of programs, \
             which Foreword does not need",
            environment.command("sysctl kernel.unprivileged_bpf_disabled=2"),
        ),
        _ => Finding::ok(CHECK, "only privileged users may load programs, and Foreword is one"),
    })
}

fn stats(setting: &Setting, environment: Environment) -> Option<Finding> {
    (word(setting)? == "1").then(|| {
        Finding::note(
            "bpf-stats",
            "kernel.bpf_stats_enabled is 1: the kernel times each run of a program",
            environment.command("sysctl kernel.bpf_stats_enabled=0, unless you are measuring"),
        )
    })
}

fn syncookies(setting: &Setting, environment: Environment) -> Option<Finding> {
    const CHECK: &str = "syncookies";
    Some(match word(setting)? {
        "0" => Finding::warning(
            CHECK,
            "net.ipv4.tcp_syncookies is 0: a flood of first packets shuts clients out",
            environment.command("sysctl net.ipv4.tcp_syncookies=1"),
        ),
        "2" => Finding::note(
            CHECK,
            "net.ipv4.tcp_syncookies is 2: every connection begins with a cookie, and may lose \
             TCP options",
            "1 sends cookies when they are needed",
        ),
        _ => Finding::ok(CHECK, "sent when they are needed"),
    })
}

fn rp_filter(setting: &Setting, intent: &Intent) -> Option<Finding> {
    const CHECK: &str = "rp_filter";
    const WHAT: &str = "net.ipv4.conf.all.rp_filter is 1: with --source client, servers on this \
                        node can't see IPv4 clients; nothing else is affected";
    const FIX: &str = "set it to 2 or 0; each interface has its own";
    let is_strict = word(setting)? == "1";
    Some(match (is_strict, &intent.rules[..]) {
        (true, []) => Finding::note(CHECK, WHAT, format!("for that, {FIX}")),
        (true, _) if intent.showing_clients().next().is_some() => {
            Finding::warning(CHECK, WHAT, FIX)
        }
        _ => Finding::ok(CHECK, "not in the way"),
    })
}

fn src_valid_mark(setting: &Setting) -> Option<Finding> {
    (word(setting)? == "1").then(|| {
        Finding::note(
            "src_valid_mark",
            "net.ipv4.conf.all.src_valid_mark is 1, as VPNs that use marks need it",
            "nothing: steered packets carry no mark, and are not affected",
        )
    })
}

fn forwarding(settings: &[Setting; 2]) -> Finding {
    let [v4, v6] = settings.each_ref().map(|setting| match word(setting) {
        Some("0") => "off",
        Some(_) => "on",
        None => "unknown",
    });
    let what = format!("IPv4 {v4}, IPv6 {v6}; Foreword needs neither");
    Finding::ok("forwarding", what)
}
