//! The kernel, this process, the settings, and what others left.

use super::super::Severity::{self, Fatal, Note, Warning};
use super::{assert_bad, assert_fine, broken, hidden, memory, only_bad, set};
use crate::steer::survey::leftovers::Leftovers;
use crate::sys::fact::Fact;

#[test]
fn the_release_decides_by_its_version() {
    for (release, severity) in [("5.9.16", Fatal), ("4.19.0-27-amd64", Fatal), ("mine", Note)] {
        let report = broken(|facts| facts.kernel.release = Ok(release.to_owned()));
        assert_bad(&report, severity, "kernel", &[release, "5.10 or newer"]);
    }
    for release in ["5.10.0", "5.15-rc1", "6.6.0+", "10.1.2"] {
        let report = broken(|facts| facts.kernel.release = Ok(release.to_owned()));
        assert_fine(&report, "kernel", &[release]);
    }
    let report = broken(|facts| facts.kernel.release = hidden());
    assert_bad(&report, Note, "kernel", &["made up"]);
}

#[test]
fn a_lacking_feature_is_fatal_and_an_unseen_one_is_not() {
    for (seen, severity, words) in [(Ok(false), Fatal, "lacks"), (hidden(), Note, "made up")] {
        let report = broken(|facts| facts.survey.features.sk_lookup = seen.clone());
        assert_bad(&report, severity, "sk_lookup", &[words]);
        let report = broken(|facts| facts.survey.features.redirect_peer = seen.clone());
        assert_bad(&report, severity, "redirect-peer", &[words]);
        let report = broken(|facts| facts.survey.features.redirect_neigh = seen.clone());
        assert_bad(&report, severity, "redirect-neigh", &[words]);
        let report = broken(|facts| facts.survey.features.veth = seen.clone());
        assert_bad(&report, severity, "veth", &[words, "CONFIG_VETH"]);
        let report = broken(|facts| facts.survey.features.btf = seen.clone());
        assert_eq!((only_bad(&report).severity, only_bad(&report).check), (Note, "btf"));
    }
}

#[test]
fn without_tcx_it_says_what_clsact_means() {
    let report = broken(|facts| facts.survey.features.tcx = false);
    assert_bad(&report, Note, "tcx", &["clsact", "outlive", "foreword cleanup", "6.6"]);
}

#[test]
fn what_filters_need_matters_only_without_tcx() {
    let clsact = |tcx, seen: Fact<bool>| {
        let report = broken(|facts| {
            facts.survey.features.tcx = tcx;
            facts.survey.features.clsact = seen;
        });
        let finding = report.findings().find(|finding| finding.check == "clsact");
        finding.map(|finding| finding.severity)
    };
    assert_eq!(clsact(true, Ok(false)), None);
    assert_eq!(clsact(false, Ok(true)), Some(Severity::Ok));
    assert_eq!(clsact(false, hidden()), Some(Note));
    assert_eq!(clsact(false, Ok(false)), Some(Fatal));
}

#[test]
fn only_confidentiality_is_worth_a_note() {
    let lockdown = |mode: &str| broken(|facts| facts.kernel.lockdown = set(mode));
    assert_bad(&lockdown("confidentiality"), Note, "lockdown", &["lockdown=integrity"]);
    assert_fine(&lockdown("integrity"), "lockdown", &["integrity"]);
    assert_fine(&lockdown("none"), "lockdown", &["none"]);
    let unknown = broken(|facts| facts.kernel.lockdown = hidden());
    assert_bad(&unknown, Note, "lockdown", &["made up"]);
}

#[test]
fn missing_capabilities_are_fatal_and_named() {
    let without =
        |missing: &[&'static str]| broken(|facts| facts.process.missing = Ok(missing.to_vec()));
    let one = without(&["CAP_NET_ADMIN"]);
    assert_bad(&one, Fatal, "capabilities", &["CAP_NET_ADMIN is missing", "as root"]);
    let both = without(&["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]);
    assert_bad(&both, Fatal, "capabilities", &["CAP_NET_ADMIN and CAP_SYS_ADMIN are missing"]);
    let unknown = broken(|facts| facts.process.missing = hidden());
    assert_bad(&unknown, Note, "capabilities", &["made up"]);
}

#[test]
fn mounts_are_missed_by_what_needs_them() {
    let report = broken(|facts| facts.cgroup = hidden());
    assert_bad(&report, Warning, "cgroup2", &["not shown", "mount -t cgroup2"]);
    let report = broken(|facts| facts.survey.bpffs = Ok(false));
    assert_bad(&report, Note, "bpffs", &["attach mounts it"]);
    let report = broken(|facts| facts.survey.bpffs = hidden());
    assert_bad(&report, Fatal, "bpffs", &["made up", "CONFIG_BPF_SYSCALL"]);
}

#[test]
fn the_limit_of_files_is_told_in_connections() {
    let with = |hard| broken(|facts| facts.process.files = Ok((256, hard)));
    assert_bad(&with(225), Fatal, "files", &["allow 226", "LimitNOFILE"]);
    assert_bad(&with(226), Warning, "files", &[": 1 connections"]);
    assert_bad(&with(2222), Warning, "files", &[": 999 connections"]);
    assert_fine(&with(2224), "files", &[": 1000 connections"]);
    let unknown = broken(|facts| facts.process.files = hidden());
    assert_bad(&unknown, Note, "files", &["made up"]);
}

#[test]
fn what_stuck_connections_take_is_told() {
    let with = |bytes| broken(|facts| facts.process.memory = memory(bytes));
    assert_fine(
        &with(64 << 30),
        "memory",
        &["16.0 GiB for buffers", "32656 stuck at once 31.9 GiB"],
    );
    let words = ["the cgroup's 1.0 GiB in all", "limits.connections: 1536"];
    assert_bad(&with(1 << 30), Note, "memory", &words);
    assert_bad(&broken(|facts| facts.process.memory = hidden()), Note, "memory", &["made up"]);
}

#[test]
fn short_pipes_are_a_warning_unless_a_capability_lifts_the_limit() {
    let short = |has_resource| {
        broken(|facts| {
            facts.settings.pipe_size = set("524287");
            facts.process.has_resource = has_resource;
        })
    };
    assert_bad(&short(false), Warning, "pipes", &["524287", "64 KiB", "fs.pipe-max-size=524288"]);
    assert_fine(&short(true), "pipes", &["512 KiB", "does not apply"]);
    let exact = broken(|facts| facts.settings.pipe_size = set("524288"));
    assert_fine(&exact, "pipes", &["does not apply"]);
    let unknown = broken(|facts| facts.settings.pipe_size = hidden());
    assert_bad(&unknown, Note, "pipes", &["could not be seen"]);
}

#[test]
fn an_ordinary_users_share_of_pipes_is_counted() {
    let report = broken(|facts| {
        facts.process.missing = Ok(vec!["CAP_SYS_ADMIN"]);
        facts.settings.pipe_pages_hard = set("32768");
    });
    let pipes = report.findings().find(|finding| finding.check == "pipes");
    let line = pipes.map(super::words_of).unwrap_or_default();
    assert!(line.contains("has 128 of them") && line.contains("and 256"), "{line}");
}

#[test]
fn settings_are_judged_by_their_values() {
    let jit = |value| broken(|facts| facts.settings.jit = value);
    assert_bad(&jit(set("0")), Warning, "bpf-jit", &["sysctl net.core.bpf_jit_enable=1"]);
    assert_bad(&jit(Ok(None)), Note, "bpf-jit", &["network namespace"]);
    assert_bad(&jit(hidden()), Note, "bpf-jit", &["made up"]);
    assert_fine(&jit(set("2")), "bpf-jit", &["compiled"]);
    let report = broken(|facts| facts.settings.jit_harden = set("2"));
    assert_bad(&report, Note, "bpf-jit-harden", &["slower"]);
    let report = broken(|facts| facts.settings.unprivileged_bpf = set("0"));
    assert_bad(&report, Note, "bpf-users", &["does not need"]);
    let report = broken(|facts| facts.settings.bpf_stats = set("1"));
    assert_bad(&report, Note, "bpf-stats", &["times each run"]);
    let syncookies = |value| broken(|facts| facts.settings.syncookies = set(value));
    assert_bad(&syncookies("0"), Warning, "syncookies", &["flood"]);
    assert_bad(&syncookies("2"), Note, "syncookies", &["every connection"]);
    let rp_filter = |value| broken(|facts| facts.settings.rp_filter = set(value));
    assert_bad(&rp_filter("1"), Note, "rp_filter", &["--source client", "2 or 0"]);
    assert_fine(&rp_filter("0"), "rp_filter", &[]);
    let report = broken(|facts| facts.settings.src_valid_mark = set("1"));
    assert_bad(&report, Note, "src_valid_mark", &["no mark"]);
    let report = broken(|facts| facts.settings.forwarding = [set("1"), Ok(None)]);
    assert_fine(&report, "forwarding", &["IPv4 on, IPv6 unknown", "needs neither"]);
}

#[test]
fn few_local_ports_bound_the_rate() {
    let ports = |range, reserved, reuse| {
        broken(|facts| {
            facts.settings.local_ports = set(range);
            facts.settings.reserved_ports = set(reserved);
            facts.settings.tw_reuse = set(reuse);
        })
    };
    assert_fine(&ports("32768\t60999", "", "2"), "local-ports", &["28232", "470 new"]);
    let few = ports("40000\t40119", "39999-40059,40100", "2");
    assert_bad(&few, Warning, "local-ports", &["59 local ports", "0 new", "sourceAddresses"]);
    assert_fine(&ports("40000\t40119", "", "1"), "local-ports", &["a second after"]);
    let report = broken(|facts| facts.settings.local_ports = hidden());
    assert_bad(&report, Note, "local-ports", &["could not be seen"]);
}

#[test]
fn everything_that_was_left_is_named() {
    let report = broken(|facts| {
        facts.survey.leftovers = Ok(Leftovers {
            pins: vec!["/sys/fs/bpf/foreword/7".into()],
            links: vec!["fwd7".to_owned()],
            cgroups: vec!["/sys/fs/cgroup/foreword.7".into()],
            filters: vec!["eth1".to_owned()],
        });
    });
    let words = ["a filter on eth1", "the link fwd7", "foreword/7", "foreword.7", "cleanup"];
    assert_bad(&report, Note, "leftovers", &words);
    let unknown = broken(|facts| facts.survey.leftovers = hidden());
    assert_bad(&unknown, Note, "leftovers", &["made up", "root"]);
}

#[test]
fn whoever_balances_services_is_named() {
    let report = broken(|facts| facts.survey.services.iptables = Ok(true));
    assert_fine(&report, "services", &["kube-proxy (iptables)"]);
    let report = broken(|facts| facts.survey.services.nftables = Ok(true));
    assert_fine(&report, "services", &["kube-proxy (nftables)"]);
    assert_fine(&broken(|_| {}), "services", &["no kube-proxy"]);
    let report = broken(|facts| facts.survey.services.ipvs = true);
    assert_bad(&report, Note, "services", &["ipvs", "not tested"]);
    let report = broken(|facts| facts.survey.services.cilium = true);
    assert_bad(&report, Note, "services", &["Cilium", "after foreword_steer"]);
    let report = broken(|facts| facts.survey.services.iptables = hidden());
    assert_bad(&report, Note, "services", &["(iptables)", "made up"]);
    assert!(!format!("{report:?}").contains("no kube-proxy"), "what was not seen is not absent");
}
