//! Somebody else changes what is Foreword's own in the kernel: it is put back, and said and counted;
//! and where that can't be done, nobody waits for an answer for ever.

mod private_namespace;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use netlab::header::{named_client, named_destination, named_headers, v1};
use netlab::{
    Backend, Client, Family, Foreword, Lab, Netns, OFF, PATIENCE, PORT, hooks, join, lab,
    output_of, wait_until,
};

use crate::FOREWORD;
use crate::admin::get;
use crate::footprint::{Footprint, NodeState, descriptor_ids};
use crate::probe::{FLAGS, assert_served, echoes, flows_directly};
use crate::talk::Talk;

/// Where HTTP is answered.
const HTTP: &str = "--admin-http 127.0.0.1:9478";

#[track_caller]
fn wait_for_word(foreword: &Foreword, word: &str) {
    wait_until(PATIENCE, word, || foreword.output().contains(word))
        .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
}

fn run(netns: &Netns, command: &str) {
    let mut words = command.split_whitespace();
    let mut run = netns.command(words.next().expect("a program"));
    run.args(words);
    output_of(run);
}

/// News of a link, upon which everything is looked at; without any, that is done once a minute.
fn nudge(node: &Netns) {
    node.ip("link add nudge type veth peer name nudged").expect("root may make links");
    node.ip("link del nudge").expect("it is there");
}

fn veth(foreword: &Foreword) -> String {
    format!("fwd{}", foreword.pid())
}

/// How often something of this kind was made again, by the metric.
fn repaired(lab: &Lab, kind: &str) -> u64 {
    let (_, metrics) = get(lab, "/metrics");
    let name = format!(r#"foreword_repairs_total{{kind="{kind}",result="repaired"}} "#);
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |value| value.parse().expect("a number"))
}

fn echo_of(lab: &Lab, family: Family) -> Backend {
    Backend::start(&lab.backend, (family.vip(), PORT).into(), netlab::echo)
}

/// A connection that says nothing while things are changed, and goes on afterwards.
struct Silent(Client);

impl Silent {
    fn begin(lab: &Lab, backend: &Backend, family: Family) -> Self {
        let [_, header] = named_headers(family);
        let mut client = Client::connect(&lab.client, family.lb(), backend.address());
        client.send(&join(&header, b"before"));
        let named = v1(named_client(family), named_destination(family));
        let expected = join(&named, b"before");
        assert_eq!(client.receive(expected.len()), expected);
        Self(client)
    }

    fn assert_goes_on(mut self) {
        self.0.send(b"after");
        assert_eq!(self.0.receive(5), b"after");
    }
}

/// `tc qdisc del dev eth0 clsact`, as another tool's clean-up does it.
#[apply(both_families)]
fn filters_that_somebody_removed_are_put_back(family: Family) {
    let lab = lab();
    let backend = echo_of(&lab, family);
    let flags = format!("{FLAGS} {HTTP} --hook clsact --source client --upstream-interface eth1");
    let foreword = FOREWORD.attach(&lab.node, &flags);
    for (round, what) in
        ["tc qdisc del dev eth0 clsact", "tc filter del dev eth0 ingress"].iter().enumerate()
    {
        assert_served(&lab, &backend, family);
        let silent = Silent::begin(&lab, &backend, family);
        let before = repaired(&lab, "program");
        run(&lab.node, what);
        let steer = || foreword.output().matches("foreword_steer on eth0 had gone").count();
        wait_until(PATIENCE, what, || steer() > round)
            .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
        wait_until(PATIENCE, "the count", || repaired(&lab, "program") > before)
            .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
        silent.assert_goes_on();
        assert_served(&lab, &backend, family);
        assert!(!flows_directly(&lab, &backend, family), "{what}: past us");
    }
    // The way out of the private namespace has a qdisc of its own.
    run(&lab.node, &format!("tc qdisc del dev {} clsact", veth(&foreword)));
    wait_for_word(&foreword, "foreword_return had gone");
    assert_served(&lab, &backend, family);
    assert_eq!(get(&lab, "/readyz").0, "200");
}

/// Whatever of ours is a link can be detached by its id.
#[apply(both_families)]
fn links_that_somebody_detached_are_attached_again(family: Family) {
    if !hooks().contains(&"tcx") {
        return;
    }
    let lab = lab();
    let backend = echo_of(&lab, family);
    let flags =
        format!("{FLAGS} {HTTP} --guard-hook native --source client --upstream-interface eth1");
    let foreword = FOREWORD.attach(&lab.node, &flags);
    let mut before = BTreeSet::new();
    for _ in 0..2 {
        assert_served(&lab, &backend, family);
        let silent = Silent::begin(&lab, &backend, family);
        let links = descriptor_ids(foreword.pid(), "link_id:");
        assert!(links.len() >= 8 && links.is_disjoint(&before), "{links:?} after {before:?}");
        for link in &links {
            let mut bpftool = Command::new("bpftool");
            bpftool.args(["link", "detach", "id", &link.to_string()]);
            output_of(bpftool);
        }
        nudge(&lab.node);
        let all = || {
            let now = descriptor_ids(foreword.pid(), "link_id:");
            now.len() == links.len() && now.is_disjoint(&links)
        };
        wait_until(PATIENCE, "links in place of the old ones", all)
            .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
        silent.assert_goes_on();
        before = links;
    }
    assert_served(&lab, &backend, family);
    assert!(!flows_directly(&lab, &backend, family), "past us");
    for program in ["steer on eth0", "synack on eth0", "answer on eth1", "guard on eth0", "lookup"]
    {
        wait_for_word(&foreword, &format!("foreword_{program} had gone"));
    }
}

#[apply(lab_test)]
fn a_guard_that_somebody_took_off_stands_again() {
    let lab = lab();
    let foreword = FOREWORD.attach(&lab.node, &format!("{FLAGS} {HTTP} --guard-hook native"));
    // Against this, the kernel protects what is attached by a link.
    let off = lab.node.ip("link set dev eth0 xdp off");
    let text = || {
        let mut show = lab.node.command("ip");
        show.args(["-details", "link", "show", "dev", "eth0"]);
        output_of(show)
    };
    if off.is_err() {
        let mut list = lab.node.command("bpftool");
        list.args(["--json", "link", "show"]);
        let links = descriptor_ids(foreword.pid(), "link_id:");
        let of_guard = links.into_iter().find(|link| is_on_xdp(foreword.pid(), *link));
        let id = of_guard.expect("the guard is in XDP").to_string();
        run(&lab.node, &format!("bpftool link detach id {id}"));
    }
    assert!(!text().contains("prog/xdp") || repaired(&lab, "program") > 0, "{}", text());
    nudge(&lab.node);
    wait_for_word(&foreword, "foreword_guard on eth0 had gone");
    wait_until(PATIENCE, "XDP", || text().contains("prog/xdp"))
        .unwrap_or_else(|error| panic!("{error}: {}", text()));
    let (_, metrics) = get(&lab, "/metrics");
    assert!(metrics.contains(r#"guard="native XDP""#), "{metrics}");
    for (family, backend) in Family::BOTH.into_iter().zip(&echoes(&lab)) {
        assert_served(&lab, backend, family);
    }
}

/// Whether a link of a process is an XDP program's, as its descriptor says.
fn is_on_xdp(pid: u32, link: u64) -> bool {
    let folder = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the process lives");
    let texts = folder.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let is_it = |text: &String| {
        let has = |line: &str| text.lines().any(|it| it == line);
        has(&format!("link_id:\t{link}")) && has("link_type:\txdp")
    };
    texts.into_iter().any(|text| is_it(&text))
}

#[apply(lab_test)]
fn a_hold_that_somebody_removed_is_placed_again() {
    for hook in hooks() {
        let lab = lab();
        let [backend, _] = echoes(&lab);
        let mut foreword =
            FOREWORD.attach(&lab.node, &format!("{FLAGS} --when-absent drop --hook {hook}"));
        run(&lab.node, "tc qdisc del dev eth0 clsact");
        wait_for_word(&foreword, "foreword_hold on eth0 had gone");
        wait_until(PATIENCE, "a hold", || crate::probe::is_held(&lab.node))
            .unwrap_or_else(|error| panic!("{hook}: {error}: {}", foreword.output()));
        assert_served(&lab, &backend, Family::V4);
        foreword.kill().expect("it runs");
        assert!(!flows_directly(&lab, &backend, Family::V4), "{hook}: it is held");
        crate::probe::cleanup(&lab.node);
    }
}
