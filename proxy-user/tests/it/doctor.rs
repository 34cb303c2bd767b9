//! `foreword doctor`: what it says of nodes in every state, and that it changes nothing.

mod others;
mod tunnels;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use netlab::{
    Config, ConfigFile, Family, Lab, Netns, PORT, Rule, Scratch, has_tools, hooks, lab, output_of,
    site,
};
use serde_json::Value;

use crate::FOREWORD;
use crate::footprint::NodeState;
use crate::probe::FLAGS;
use crate::rules::Form;
use crate::stranger::{Place, Stranger};

/// What the doctor said, as JSON.
struct Visit {
    report: Value,
    code: Option<i32>,
}

impl Visit {
    fn of(node: &Netns, interfaces: &[&str]) -> Self {
        let mut command = FOREWORD.command(node);
        command.args(["doctor", "--json"]).args(interfaces);
        Self::run(command)
    }

    fn with_file(node: &Netns, config: Config) -> Self {
        let file = ConfigFile::saying(config);
        let mut command = FOREWORD.command(node);
        command.args(["doctor", "--json", "--config"]).arg(file.path());
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let output = command.output().expect("the binary can be run");
        let stdout = String::from_utf8_lossy(&output.stdout);
        let report = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("{error}: {stdout}{}", String::from_utf8_lossy(&output.stderr))
        });
        Self { report, code: output.status.code() }
    }

    fn findings(&self) -> impl Iterator<Item = &Value> {
        let sections = self.report["sections"].as_array().into_iter().flatten();
        sections.filter_map(|section| section["findings"].as_array()).flatten()
    }

    /// Whether some finding of this check and verdict says all of these words.
    fn says(&self, check: &str, verdict: &str, words: &[&str]) -> bool {
        self.findings().filter(|it| it["check"] == check && it["severity"] == verdict).any(|it| {
            let text = it.to_string();
            words.iter().all(|word| text.contains(word))
        })
    }

    #[track_caller]
    fn assert_says(&self, check: &str, verdict: &str, words: &[&str]) -> &Self {
        assert!(
            self.says(check, verdict, words),
            "no {verdict} {check} {words:?}: {:#}",
            self.report
        );
        self
    }

    #[track_caller]
    fn assert_has_no(&self, check: &str) -> &Self {
        assert!(self.findings().all(|it| it["check"] != check), "{check}: {:#}", self.report);
        self
    }

    /// Nothing worse than a note.
    #[track_caller]
    fn assert_fit(&self) -> &Self {
        let worst = &self.report["severity"];
        assert!(worst == "ok" || worst == "note", "{:#}", self.report);
        assert_eq!(self.code, Some(0));
        self
    }

    /// The worst is a warning, which is no failure.
    #[track_caller]
    fn assert_warned(&self) -> &Self {
        assert_eq!(self.report["severity"], "warning", "{:#}", self.report);
        assert_eq!(self.code, Some(0));
        self
    }

    #[track_caller]
    fn assert_fatal(&self) -> &Self {
        assert_eq!(self.report["severity"], "fatal", "{:#}", self.report);
        assert_eq!(self.code, Some(1));
        self
    }
}

#[apply(lab_test)]
fn a_healthy_node_is_fit() {
    let lab = lab();
    let before = NodeState::of(&lab.node);
    let visit = Visit::of(&lab.node, &["eth0"]);
    visit.assert_fit();
    for feature in ["kernel", "sk_lookup", "redirect-peer", "redirect-neigh", "veth"] {
        visit.assert_says(feature, "ok", &[]);
    }
    visit.assert_says("capabilities", "ok", &["CAP_NET_ADMIN"]);
    visit.assert_says("interface", "ok", &["eth0", "Ethernet", "MTU 1500", "virtual (veth)"]);
    visit.assert_says("ingress", "ok", &["no other programs"]);
    visit.assert_says("services", "ok", &["no kube-proxy"]);
    visit.assert_has_no("steered").assert_has_no("hold").assert_has_no("xdp");
    before.assert_restored(&lab.node);

    let mut command = FOREWORD.command(&lab.node);
    let output = command.args(["doctor", "eth0"]).output().expect("the binary can be run");
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout);
    // Other tests' instances come and go meanwhile.
    for finding in visit.findings().filter(|finding| finding["check"] != "leftovers") {
        let [verdict, check] =
            ["severity", "check"].map(|key| finding[key].as_str().unwrap_or_default());
        let line = format!("  {verdict:<8} {check} ");
        assert!(text.lines().any(|it| it.starts_with(&line)), "{line}: {text}");
    }
    let headings: Vec<_> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert!(headings.contains(&"interface eth0"), "{text}");
    assert!(headings.last().is_some_and(|line| line.starts_with("fit for Foreword")), "{text}");
}

#[apply(lab_test)]
fn without_names_every_interface_that_matters_is_looked_at() {
    let lab = lab();
    let _foreword = FOREWORD.attach(&lab.node, FLAGS);
    lab.node.ip("link add idle type veth peer name idle1").expect("root may make links");
    let visit = Visit::of(&lab.node, &[]);
    let of_check = |it: &&Value| it["check"] == "interface";
    let mut names: Vec<_> =
        visit.findings().filter(of_check).filter_map(|it| it["interface"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["eth0", "eth1"], "neither lo, nor one that is down, nor our own veth");
}

#[apply(lab_test)]
fn a_missing_interface_is_fatal() {
    let lab = lab();
    let visit = Visit::of(&lab.node, &["eth0", "nope0"]);
    visit.assert_fatal().assert_says("interface", "fatal", &["nope0", "eth1"]);
    visit.assert_says("interface", "ok", &["eth0"]);
}

#[apply(lab_test)]
fn a_pattern_is_for_interfaces_that_are_there_or_come() {
    let lab = lab();
    let visit = Visit::of(&lab.node, &["eth*", "eni*"]);
    visit.assert_fit().assert_says("interface", "note", &["eni*", "created later"]);
    for name in ["eth0", "eth1"] {
        visit.assert_says("interface", "ok", &[name]);
    }
    let mut command = FOREWORD.command(&lab.node);
    let output = command.args(["doctor", "a/b"]).output().expect("the binary can be run");
    assert_eq!(output.status.code(), Some(2));
    let refusal = String::from_utf8_lossy(&output.stderr);
    assert!(refusal.contains("'a/b' is not valid"), "{refusal}");
}

/// A visit with a file whose one rule shows clients to this upstream.
fn visit_showing_clients(node: &Netns, field: &str, upstream: &str) -> Visit {
    let rule = Rule::new("web", 80)
        .with(format!("upstream: {{ address: \"{upstream}\", source: client }}"));
    Visit::with_file(node, Config::on("eth0").with(field).rule(rule))
}

#[apply(lab_test)]
fn what_upstreams_that_see_clients_need_is_told() {
    let lab = lab();
    for family in Family::BOTH {
        let upstream = SocketAddr::new(family.backend(), PORT).to_string();
        let visit = visit_showing_clients(&lab.node, "", &upstream);
        let words = ["is reached by eth1", "write upstreamInterfaces: eth1"];
        visit.assert_warned().assert_says("upstream", "warning", &words);

        let lines = "upstreamInterfaces: [eth1]";
        let visit = visit_showing_clients(&lab.node, lines, &upstream);
        let words =
            ["rule web", "answers have to come back through this node", "another host needs"];
        visit.assert_fit().assert_says("upstream", "note", &words);
        visit.assert_says("interface", "ok", &["eth1", "upstreams answer on it"]);
        assert!(!visit.says("upstream", "note", &["kube-proxy"]), "{:#}", visit.report);
    }
    visit_showing_clients(&lab.node, "", "198.51.100.1:80").assert_warned().assert_says(
        "upstream",
        "warning",
        &["there is no route", "198.51.100.1:80"],
    );

    let site = site();
    Form::Nftables.install_kube_proxy(&site, Family::V4);
    let words = ["kube-proxy is bypassed", "write source: node"];
    visit_showing_clients(&site.node, "", "original").assert_says("upstream", "note", &words);
}

#[apply(lab_test)]
fn what_a_file_asks_in_vain_is_fatal() {
    let lab = lab();
    let _theirs = Stranger::at_xdp(&lab.node, "eth0", "xdp_dispatcher");
    let visit = visit_showing_clients(&lab.node, "guardHook: generic", "original");
    // Nothing is guarded: everybody may connect.
    visit.assert_fit().assert_has_no("guard");

    let rule = Rule::new("web", 80).inbound("require", ["192.0.2.0/24"]);
    let file = ConfigFile::saying(Config::on("eth0").with("guardHook: generic").rule(rule));
    let run = |arguments: &[&str]| {
        let mut command = FOREWORD.command(&lab.node);
        command.args(arguments).arg("--config").arg(file.path());
        command
    };
    let visit = Visit::run(run(&["doctor", "--json"]));
    visit.assert_fatal().assert_says("guard", "fatal", &["room for one", "guardHook: auto"]);
    let output = run(&["run"]).output().expect("the binary can be run");
    assert_eq!(output.status.code(), Some(1), "the doctor is right");
}

#[apply(lab_test)]
fn an_interface_that_is_down_is_a_warning() {
    let lab = lab();
    lab.node.ip("link set eth1 down").expect("it is there");
    let visit = Visit::of(&lab.node, &["eth1"]);
    visit.assert_warned().assert_says("interface", "warning", &["ip link set eth1 up"]);
}

#[apply(lab_test)]
fn a_running_foreword_is_seen() {
    for hook in hooks() {
        let lab = lab();
        let mut foreword = FOREWORD.attach(&lab.node, &format!("{FLAGS} --hook {hook}"));
        let before = NodeState::of(&lab.node);
        let visit = Visit::of(&lab.node, &["eth0"]);
        let pid = format!("(pid {})", foreword.pid());
        visit.assert_fit().assert_says("steered", "ok", &[&pid, "--take-over"]);
        visit.assert_says("ingress", "ok", &["foreword_steer runs, and no other program"]);
        before.assert_restored(&lab.node);
        let left = visit.findings().find(|it| it["check"] == "leftovers").expect("it looks");
        let pins = format!("/foreword/{}", foreword.pid());
        assert!(!left["what"].as_str().unwrap_or_default().contains(&pins), "it lives: {left}");

        assert_eq!(foreword.terminate().expect("it ends").code(), Some(0));
        Visit::of(&lab.node, &["eth0"]).assert_fit().assert_has_no("steered");
    }
}

/// The doctor, as `setpriv` starts it with these options.
fn visit_restricted(lab: &Lab, options: &[&str]) -> Visit {
    let scratch = Scratch::new();
    let copy = scratch.path().join("foreword");
    // By another process: a copy that was open for writing in this one might be so still in a child
    // of another test's, and could not be executed.
    let mut install = Command::new("install");
    install.arg("--mode=755").arg(FOREWORD.path()).arg(&copy);
    output_of(install);
    let readable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(scratch.path(), readable).expect("a folder of ours takes a mode");
    let mut command = lab.node.command("setpriv");
    command.args(options).arg(&copy).args(["doctor", "--json", "eth0"]);
    Visit::run(command)
}

#[apply(lab_test)]
fn an_ordinary_user_is_told_what_could_not_be_seen() {
    let lab = lab();
    let _theirs = Stranger::at_tc(&lab.node, "eth0", "cali_from_node", Place::Clsact(1));
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
    let visit = visit_restricted(&lab, &user);
    visit.assert_fatal().assert_says("capabilities", "fatal", &["CAP_SYS_ADMIN", "as root"]);
    for check in ["sk_lookup", "redirect-peer", "btf", "services", "leftovers"] {
        visit.assert_says(check, "note", &["could not be seen", "as root"]);
    }
    // What anybody may see is seen.
    visit.assert_says("kernel", "ok", &["Linux"]);
    visit.assert_says("interface", "ok", &["eth0", "MTU 1500"]);
    if hooks().contains(&"tcx") {
        let words = ["the programs on tcx (besides cali_from_node (Calico)) could not be seen"];
        visit.assert_says("ingress", "note", &words);
    }

    let one = ["--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    let visit = visit_restricted(&lab, &one);
    visit.assert_fatal().assert_says("capabilities", "fatal", &["CAP_NET_ADMIN is missing"]);
    visit.assert_says("services", "note", &["could not be seen"]);
}

#[apply(lab_test)]
fn a_low_limit_of_files_is_told() {
    let lab = lab();
    let limited = |files: u32| {
        let mut command = lab.node.command("prlimit");
        command.arg(format!("--nofile={files}:{files}")).arg(FOREWORD.path());
        command.args(["doctor", "--json", "eth0"]);
        Visit::run(command)
    };
    limited(200).assert_fatal().assert_says("files", "fatal", &["200", "LimitNOFILE"]);
    limited(1224).assert_warned().assert_says("files", "warning", &[": 500 connections"]);
    limited(10_224).assert_fit().assert_says("files", "ok", &[": 5000 connections"]);
}

/// A process namespace of its own, and no cgroup2 to be seen: what a pod without it has.
#[apply(lab_test)]
fn in_a_container_advice_can_be_followed() {
    const HIDE: &str = "mount --make-rprivate / && mount -t proc proc /proc && \
                        findmnt --noheadings --output TARGET --types cgroup2 | xargs -r umount -l && \
                        exec \"$0\" doctor --json eth0";
    if !has_tools(&["unshare", "findmnt", "xargs"]) {
        return;
    }
    let lab = lab();
    let inside = |variable: Option<(&str, &str)>| {
        let mut command = lab.node.command("unshare");
        command.args(["--mount", "--pid", "--fork", "--", "sh", "-c", HIDE]).arg(FOREWORD.path());
        command.env_remove("KUBERNETES_SERVICE_HOST").envs(variable);
        Visit::run(command)
    };
    let container = inside(None);
    container.assert_warned().assert_says("cgroup2", "warning", &["--volume"]);
    let pod = inside(Some(("KUBERNETES_SERVICE_HOST", "10.96.0.1")));
    pod.assert_warned().assert_says("cgroup2", "warning", &["boot the node with cgroup v2"]);
    for visit in [container, pod] {
        assert!(!visit.says("cgroup2", "warning", &["mount -t"]), "{:#}", visit.report);
    }
}

#[apply(lab_test)]
fn kube_proxy_is_recognised_in_both_forms() {
    for form in Form::BOTH {
        let site = site();
        form.install_kube_proxy(&site, Family::V4);
        let visit = Visit::of(&site.node, &[]);
        let [ours, other] = match form {
            Form::Iptables => ["kube-proxy (iptables)", "kube-proxy (nftables)"],
            Form::Nftables => ["kube-proxy (nftables)", "kube-proxy (iptables)"],
        };
        visit.assert_says("services", "ok", &[ours]);
        assert!(!visit.says("services", "ok", &[other]), "{:#}", visit.report);
        assert!(!visit.says("services", "ok", &["no kube-proxy"]), "{:#}", visit.report);
    }
}
