//! The cut-over assistant: who is missing, when it is time, and the step itself.

use std::net::IpAddr;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use netlab::header::named_headers;
use netlab::{
    Backend, Client, Config, ConfigFile, Family, Foreword, Lab, PATIENCE, PORT, Reply, Rule, echo,
    join, lab, wait_until,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::FOREWORD;
use crate::config_file::wait_for;
use crate::talk::Talk;

/// As short as a test can wait for.
const QUIET: &str = "--quiet 2s";

/// A run with an optional rule that trusts two load balancers.
struct Run {
    foreword: Foreword,
    config: ConfigFile,
    folder: TempDir,
    backend: Backend,
    lab: Lab,
    family: Family,
}

impl Run {
    fn start(family: Family) -> Self {
        let lab = lab();
        let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
        let folder = TempDir::new().expect("a folder can be made");
        let config = ConfigFile::saying(text(&folder, family, "optional"));
        let foreword = FOREWORD.run(&lab.node, &config);
        Self { foreword, config, folder, backend, lab, family }
    }

    fn say(&self, mode: &str) {
        self.config.say(text(&self.folder, self.family, mode));
    }

    /// `foreword cutover ARGUMENTS`.
    fn cutover(&self, arguments: &str) -> Output {
        let mut command = Command::new(FOREWORD.path());
        command.arg("cutover").args(arguments.split_whitespace());
        command.arg("--socket").arg(self.folder.path().join("admin.sock"));
        command.output().expect("the binary can be run")
    }

    fn verdict(&self) -> Value {
        let output = self.cutover(&format!("web --json {QUIET}"));
        let mut rules: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        rules[0].take()
    }

    fn connect(&self, from: IpAddr) -> Client {
        Client::connect(&self.lab.client, from, self.backend.address())
    }

    /// A connection of the one load balancer, with a header.
    fn with_header(&self) {
        let [_, header] = named_headers(self.family);
        let mut client = self.connect(self.family.lb());
        client.send(&join(&header, b"hello"));
        assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
    }

    /// A connection of the other, without: what comes back.
    fn without_header(&self) -> Reply {
        let mut client = self.connect(self.family.stranger());
        client.send(b"hello");
        client.finish_and_rest()
    }
}

fn text(folder: &TempDir, family: Family, mode: &str) -> Config {
    let rule = Rule::new("web", PORT).inbound(mode, [family.lb(), family.stranger()]);
    let socket = folder.path().join("admin.sock");
    Config::on("eth0").with(format!("admin: {{ socket: {} }}", socket.display())).rule(rule)
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[apply(both_families)]
fn it_tells_who_is_missing_until_nobody_is(family: Family) {
    let run = Run::start(family);
    assert_eq!(run.verdict()["verdict"], "no-traffic");
    assert_eq!(run.without_header(), Reply::ended(b"hello"));
    assert_eq!(run.verdict()["verdict"], "not-started");
    run.with_header();
    run.with_header();
    let between = run.verdict();
    assert_eq!(between["verdict"], "in-between");
    let says = between["says"].as_str().expect("a sentence");
    assert!(says.ends_with(&format!(": {}", family.stranger())), "{says}");
    let counts = |source: IpAddr| {
        let mut sources = between["sources"].as_array().expect("a list").iter();
        let seen = sources.find(|at| at["source"] == source.to_string()).expect("it was seen");
        (seen["with"].as_u64(), seen["without"].as_u64())
    };
    assert_eq!(counts(family.lb()), (Some(2), Some(0)));
    assert_eq!(counts(family.stranger()), (Some(0), Some(1)));
    let report = run.cutover(QUIET);
    assert_eq!(report.status.code(), Some(1));
    assert!(words(&report.stdout).starts_with("rule web (optional): in between: "), "{report:?}");
    wait_until(PATIENCE, "quiet", || run.verdict()["verdict"] == "ready-for-require")
        .expect("nobody was without for long enough");
    assert_eq!(run.cutover(QUIET).status.code(), Some(0));
}

#[apply(both_families)]
fn tightening_refuses_what_comes_and_leaves_what_is_there(family: Family) {
    let run = Run::start(family);
    let open = Talk::begin(run.connect(family.stranger()));
    run.with_header();
    let refused = run.cutover(&format!("web --tighten {QUIET}"));
    assert_eq!(refused.status.code(), Some(1));
    let why = words(&refused.stderr);
    assert!(why.starts_with("error: not tightened: rule web: in between: "), "{why}");
    assert!(why.contains("--force tightens it all the same"), "{why}");
    assert_eq!(run.without_header(), Reply::ended(b"hello"), "nothing has changed");
    sleep(Duration::from_millis(2500));
    let done = run.cutover(&format!("--tighten {QUIET}"));
    let says = words(&done.stdout);
    assert!(says.starts_with("rule web requires a header from now on"), "{done:?}");
    assert!(says.contains("write `mode: require` below `name: web` in "), "{says}");
    assert_eq!(run.without_header(), Reply::ended(b""));
    run.with_header();
    open.assert_goes_on("under the rule that it began with");
    open.end();
    let after = run.verdict();
    assert_eq!(after["verdict"], "required");
    assert!(after["says"].as_str().is_some_and(|says| says.contains("refused for want of one")));
    wait_for(&run.foreword, "tightened: rule web requires a header from now on", 1);
}

#[apply(lab_test)]
fn what_was_tightened_stays_so_across_reloads() {
    let run = Run::start(Family::V4);
    let done = run.cutover("web --tighten --force");
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    run.foreword.signal(Signal::SIGHUP).expect("it runs");
    wait_for(&run.foreword, "rules.web.inbound.mode: still require", 1);
    assert_eq!(run.without_header(), Reply::ended(b""));
    // A file that is refused changes nothing of it.
    run.say("sometimes");
    wait_for(&run.foreword, "not reloaded", 1);
    run.say("optional");
    run.foreword.signal(Signal::SIGHUP).expect("it runs");
    wait_for(&run.foreword, "rules.web.inbound.mode: still require", 2);
    assert_eq!(run.without_header(), Reply::ended(b""));
    run.say("off");
    wait_for(&run.foreword, "rules.web.inbound.mode: optional → off", 1);
    assert_eq!(run.without_header(), Reply::ended(b"hello"), "the file has the last word");
}

#[apply(lab_test)]
fn what_can_not_be_tightened_is_said() {
    let run = Run::start(Family::V4);
    let unknown = run.cutover("mail --tighten");
    let why = words(&unknown.stderr);
    assert!(why.contains("no rule is called 'mail'; there are: web"), "{why}");
    run.say("off");
    wait_for(&run.foreword, "rules.web.inbound.mode: optional → off", 1);
    let off = run.cutover("web --tighten --force");
    assert_eq!(off.status.code(), Some(1));
    assert!(words(&off.stderr).contains("set inbound.mode: optional first"), "{off:?}");
    assert_eq!(run.verdict()["verdict"], "not-read");
    run.say("require");
    wait_for(&run.foreword, "rules.web.inbound.mode: off → require", 1);
    let again = run.cutover("web --tighten");
    assert_eq!(words(&again.stdout), "rule web requires a header already\n", "{again:?}");
}
