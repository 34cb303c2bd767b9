//! `scripts/bpf-diagnose.sh`: what it shows of a living process, what it shows of a dead one, and what
//! it keeps to itself.
//!
//! Other tests' instances are in the bundle as well; only what is about this node is compared.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use netlab::{
    Backend, Client, Family, Lab, PATIENCE, PORT, Reply, Scratch, echo, hooks, lab, output_of,
    wait_until,
};

use crate::FOREWORD;
use crate::numbers::Timing;
use crate::probe::{FLAGS, assert_served, cleanup, echoes};

const SECTIONS: [&str; 9] = [
    "system",
    "instances",
    "programs",
    "maps",
    "links",
    "net",
    "interfaces",
    "counters",
    "statistics",
];

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/bpf-diagnose.sh")
}

fn diagnose(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = lab.node.command(script());
    command.args(arguments);
    command
}

/// Everything, on standard output.
fn bundle(lab: &Lab) -> String {
    output_of(diagnose(lab, &["-"]))
}

/// What is below a section's heading.
fn section<'a>(bundle: &'a str, name: &str) -> &'a str {
    let heading = format!("=== {name}\n");
    let start = bundle.find(&heading).unwrap_or_else(|| panic!("no {heading} in {bundle}"));
    let text = &bundle[start + heading.len()..];
    text.find("\n=== ").map_or(text, |end| &text[..end])
}

#[track_caller]
fn assert_shows(bundle: &str, name: &str, words: &[&str]) {
    let text = section(bundle, name);
    for word in words {
        assert!(text.contains(word), "{name} does not show {word}:\n{text}");
    }
}

#[apply(lab_test)]
fn a_bundle_shows_what_is_in_the_kernel() {
    let _timing = Timing::on();
    for &hook in hooks() {
        let lab = lab();
        let [backend, _other] = echoes(&lab);
        let foreword = FOREWORD.attach(&lab.node, &format!("{FLAGS} --hook {hook}"));
        assert_served(&lab, &backend, Family::V4);
        let bundle = bundle(&lab);
        for name in SECTIONS {
            assert!(section(&bundle, name).trim().len() > 20, "nothing in {name}:\n{bundle}");
        }
        assert_shows(&bundle, "instances", &[&format!("instance {}: alive", foreword.pid())]);
        let programs = ["foreword_steer", "foreword_return", "foreword_lookup", "foreword_track"];
        assert_shows(&bundle, "programs", &programs);
        // Names of the types, from BTF, and their fields.
        assert_shows(&bundle, "maps", &["foreword_conns", "struct Conn ", "since_ns", "entries"]);
        assert_shows(&bundle, "links", &["foreword_lookup"]);
        // Debian's bpftool knows tcx by its links only.
        match hook {
            "tcx" => assert_shows(&bundle, "links", &["foreword_steer", "foreword_return"]),
            _ => assert_shows(&bundle, "net", &["eth0", "foreword_steer", "foreword_return"]),
        }
        assert_shows(&bundle, "interfaces", &["eth0", "eth1", "veth"]);
        assert_shows(&bundle, "counters", &["steered_syn", "steered_flow", "\"port\": 80"]);
        let statistics = section(&bundle, "statistics");
        // Other tests have programs of that name as well, which may not have run yet.
        let mut steer = statistics.lines().filter(|line| line.contains("foreword_steer"));
        assert!(steer.any(|line| !line.ends_with('-')), "{statistics}");
    }
}

/// By clsact the programs outlive it; by tcx there is less to be seen.
#[apply(lab_test)]
fn a_bundle_needs_no_process() {
    for &hook in hooks() {
        let lab = lab();
        let mut foreword = FOREWORD.attach(&lab.node, &format!("{FLAGS} --hook {hook}"));
        foreword.kill().expect("it runs");
        let scratch = Scratch::new();
        let file = scratch.path().join("bundle.tar.gz");
        let said = output_of(diagnose(&lab, &[file.to_str().expect("of ASCII")]));
        assert!(said.contains("statistics.txt"), "{said}");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(scratch.path()).arg("-xzf").arg(&file);
        output_of(tar);
        for name in SECTIONS {
            let text = fs::read_to_string(scratch.path().join(format!("{name}.txt")));
            let text = text.unwrap_or_else(|error| panic!("{name}: {error}"));
            let is_left = text.contains("foreword_steer");
            assert!(name != "net" || is_left == (hook == "clsact"), "{hook}: {text}");
        }
        // Whoever sweeps, as other tests do, looks alive for a moment in its stead.
        let alive = format!("instance {}: alive", foreword.pid());
        let is_dead = || !section(&bundle(&lab), "instances").contains(&alive);
        wait_until(PATIENCE, "a dead instance", is_dead).expect("it was killed");
        cleanup(&lab.node);
    }
}

#[apply(lab_test)]
fn a_bundle_has_no_addresses() {
    let lab = lab();
    let _foreword = FOREWORD.attach(
        &lab.node,
        "eth0 --port 80 --inbound optional --trust 10.77.1.2,fd77:1::2 --outbound none",
    );
    let family = Family::V4;
    let at = SocketAddr::new(family.vip(), PORT);
    let _backend = Backend::start(&lab.backend, at, echo);
    let mut client = Client::connect(&lab.client, family.lb(), at);
    client.send(b"GET /secret HTTP/1.1\r\n\r\n");
    let bundle = bundle(&lab);
    for secret in [family.lb(), family.vip(), Family::V6.lb()] {
        assert!(!bundle.contains(&secret.to_string()), "{secret} is in {bundle}");
    }
    assert!(!bundle.contains("secret"), "payload is in {bundle}");
    assert_ne!(client.finish_and_rest(), Reply::ended(b""), "the connection was there meanwhile");
}

#[apply(lab_test)]
fn a_mistake_is_explained() {
    let lab = lab();
    for (arguments, word) in [
        (&["--measure"][..], "--measure needs a number of seconds"),
        (&["--measure", "x"][..], "--measure 'x' is not a number of seconds"),
        (&["--fast"][..], "there is no --fast"),
        (&["a.tar.gz", "b.tar.gz"][..], "one file is written"),
    ] {
        let run = diagnose(&lab, arguments).output().expect("it starts");
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        assert!(String::from_utf8_lossy(&run.stderr).contains(word), "{run:?}");
    }
}
