//! A run that is looked at and told things while it runs: the admin socket, its commands, metrics
//! and probes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use netlab::{
    Backend, Client, Config, ConfigFile, Family, Foreword, Lab, PATIENCE, PORT, Reply, Rule, echo,
    lab, wait_until, with_own_bpffs,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::FOREWORD;
use crate::config_file::{rule, wait_for};
use crate::probe::cleanup;
use crate::talk::Talk;

const HTTP: &str = "127.0.0.1:9478";

/// A run with a socket of its own.
pub struct Run {
    pub foreword: Foreword,
    config: ConfigFile,
    socket: PathBuf,
    folder: TempDir,
}

impl Run {
    pub fn start(lab: &Lab, config: Config) -> Self {
        Self::by(FOREWORD.command(&lab.node), config)
    }

    /// By a command that ends in the binary.
    pub fn by(command: Command, config: Config) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let socket = folder.path().join("admin.sock");
        let config = ConfigFile::saying(with_admin(&socket, config));
        let foreword = Foreword::run_by(command, config.path());
        let foreword = foreword.unwrap_or_else(|error| panic!("`foreword run`: {error:#}"));
        Self { foreword, config, socket, folder }
    }

    /// Another rule, by the file.
    pub fn say(&self, config: Config) {
        self.config.say(with_admin(&self.socket, config));
    }

    pub fn ask(&self, arguments: &str) -> Output {
        ask(&self.socket, arguments)
    }

    pub fn json(&self, arguments: &str) -> Value {
        let output = self.ask(&format!("{arguments} --json"));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

fn with_admin(socket: &Path, config: Config) -> Config {
    config.with(format!("admin: {{ socket: {}, http: \"{HTTP}\" }}", socket.display()))
}

/// Runs `foreword ARGUMENTS --socket SOCKET`.
fn ask(socket: &Path, arguments: &str) -> Output {
    let mut command = Command::new(FOREWORD.path());
    command.args(arguments.split_whitespace()).arg("--socket").arg(socket);
    command.output().expect("the binary can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn backend(lab: &Lab, family: Family) -> Backend {
    Backend::start(&lab.backend, (family.vip(), PORT).into(), echo)
}

fn connect(lab: &Lab, family: Family, backend: &Backend) -> Client {
    Client::connect(&lab.client, family.lb(), backend.address())
}

/// A connection that says five bytes, and gets them back.
fn greet(lab: &Lab, family: Family, backend: &Backend) {
    let mut client = connect(lab, family, backend);
    client.send(b"hello");
    assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
}

/// What HTTP answers in the node: the status, and the body.
pub fn get(lab: &Lab, path: &str) -> (String, String) {
    let mut curl = lab.node.command("curl");
    curl.args(["--silent", "--max-time", "5", "--write-out", "\n%{http_code}"]);
    let output = curl.arg(format!("http://{HTTP}{path}")).output().expect("curl is installed");
    let text = text(&output.stdout);
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.to_owned(), body.to_owned())
}

#[apply(both_families)]
fn status_tells_what_became_of_connections(family: Family) {
    let lab = lab();
    let backend = backend(&lab, family);
    let run = Run::start(&lab, rule(PORT, "none"));
    let open = Talk::begin(connect(&lab, family, &backend));
    for _ in 0..3 {
        greet(&lab, family, &backend);
    }
    drop(connect(&lab, family, &backend));
    let traffic = |name: &str| run.json("status")["runs"][0]["rules"][0]["traffic"][name].as_u64();
    wait_until(PATIENCE, "the ends", || traffic("open") == Some(1)).expect("they have ended");
    let counts = ["accepted", "relayed", "healthChecks", "bytesIn"].map(traffic);
    assert_eq!(counts, [Some(5), Some(3), Some(1), Some(15)]);
    let status = &run.json("status")["runs"][0];
    assert_eq!(status["state"], "serving");
    assert_eq!(status["config"], run.config.path().display().to_string());
    assert_eq!(status["interfaces"][0]["name"], "eth0");
    assert_eq!(status["interfaces"][0]["role"], "protected");
    assert!(status["packets"]["steered-syn"].as_u64() >= Some(5), "{status}");
    let report = run.ask("status");
    assert_eq!(report.status.code(), Some(0));
    let report = text(&report.stdout);
    for words in ["serving", "eth0 (protected, ", "RULE  OPEN", "web: port 80: inbound header off"]
    {
        assert!(report.contains(words), "{words} is not in\n{report}");
    }
    open.end();
}

#[apply(both_families)]
fn connections_are_listed_as_they_stand(family: Family) {
    let lab = lab();
    let backend = backend(&lab, family);
    let run = Run::start(&lab, rule(PORT, "none"));
    let mut client = connect(&lab, family, &backend);
    client.send(b"hello");
    assert_eq!(client.receive(5), b"hello");
    let list = |filter: &str| run.json(&format!("connections {filter}"));
    let connections = list("");
    let [connection] = connections.as_array().expect("a list").as_slice() else {
        panic!("{connections}")
    };
    for (field, value) in [
        ("rule", "web".to_owned()),
        ("state", "relaying".to_owned()),
        ("client", client.address().to_string()),
        ("peer", client.address().to_string()),
        ("destination", backend.address().to_string()),
        ("upstream", backend.address().to_string()),
    ] {
        assert_eq!(connection[field], value, "{field}");
    }
    assert_eq!((&connection["bytesIn"], &connection["bytesOut"]), (&5.into(), &5.into()));
    let lb = family.lb();
    for (filter, count) in [
        ("--rule web --port 80".to_owned(), 1),
        (format!("--client {lb}"), 1),
        (format!("--client {}", family.stranger()), 0),
        ("--rule mail".to_owned(), 0),
        ("--port 81".to_owned(), 0),
        ("--older 1h".to_owned(), 0),
    ] {
        assert_eq!(list(&filter).as_array().map(Vec::len), Some(count), "{filter}");
    }
    let table = text(&run.ask("connections").stdout);
    assert!(table.starts_with("RULE") && table.contains("relaying"), "{table}");
    let wrong = run.ask("connections --client nobody");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("--client 'nobody' is not valid"), "{wrong:?}");
    // One that has said nothing yet is there as well.
    let silent = connect(&lab, family, &backend);
    wait_until(PATIENCE, "two", || list("").as_array().map(Vec::len) == Some(2))
        .expect("both are listed");
    drop(silent);
}

#[apply(both_families)]
fn metrics_are_numbers_with_names(family: Family) {
    let lab = lab();
    let backend = backend(&lab, family);
    let _run = Run::start(&lab, rule(PORT, "none"));
    greet(&lab, family, &backend);
    let has = |line: &str| get(&lab, "/metrics").1.lines().any(|written| written == line);
    for line in [
        r#"foreword_connections_accepted_total{rule="web"} 1"#,
        r#"foreword_connections_ended_total{rule="web",outcome="relayed"} 1"#,
        r#"foreword_connections{rule="web"} 0"#,
        r#"foreword_bytes_total{rule="web",direction="in"} 5"#,
        r#"foreword_long_headers_total{rule="web"} 0"#,
        "foreword_draining 0",
        "# EOF",
    ] {
        let is_there = wait_until(PATIENCE, line, || has(line));
        assert!(is_there.is_ok(), "{line} is not in\n{}", get(&lab, "/metrics").1);
    }
    let mut curl = lab.node.command("curl");
    let head = curl.args(["--silent", "--head", &format!("http://{HTTP}/metrics")]);
    let head = text(&head.output().expect("curl is installed").stdout);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert_eq!(get(&lab, "/nothing").0, "404");
    let mut curl = lab.node.command("curl");
    curl.args(["--silent", "--data", "x", &format!("http://{HTTP}/metrics")]);
    assert_eq!(curl.output().expect("curl is installed").stdout, b"GET and HEAD only\n");
}

#[apply(lab_test)]
fn a_reload_says_what_has_changed() {
    let lab = lab();
    let run = Run::start(&lab, rule(PORT, "none"));
    let again = run.ask("reload");
    assert_eq!(text(&again.stdout), "reloaded: nothing has changed\n", "{again:?}");
    run.say(rule(PORT, "v3"));
    let wrong = run.ask("reload");
    assert_eq!(wrong.status.code(), Some(1));
    let words = text(&wrong.stderr);
    assert!(words.starts_with("error: not reloaded: "), "{words}");
    assert!(words.contains("outbound.version 'v3' is not valid"), "{words}");
    let admin_gone = rule(PORT, "none");
    run.config.say(admin_gone);
    let fixed = text(&run.ask("reload").stderr);
    assert!(fixed.contains("admin.socket can't be changed while it runs"), "{fixed}");
    let reloads = &run.json("status")["runs"][0]["reloads"];
    // Some were by the file's own change.
    assert!(reloads["applied"].as_u64() >= Some(1), "{reloads}");
    assert!(reloads["refused"].as_u64() >= Some(2), "{reloads}");
}

#[apply(lab_test)]
fn a_takeover_is_seen_from_both_sides() {
    let family = Family::V4;
    let lab = lab();
    let backend = backend(&lab, family);
    let mut first = Run::start(&lab, rule(PORT, "none"));
    let talk = Talk::begin(connect(&lab, family, &backend));
    // In the first one's folder, as the next pod of a DaemonSet is.
    let config = ConfigFile::saying(with_admin(&first.socket, rule(PORT, "none")));
    let mut second = FOREWORD.run(&lab.node, &config);
    wait_for(&first.foreword, "succeeded", 1);
    let status = first.json("status");
    let runs = status["runs"].as_array().expect("a list");
    let sides: Vec<_> = runs.iter().map(|run| (&run["state"], &run["process"])).collect();
    let (first_pid, second_pid) = (first.foreword.pid(), second.pid());
    assert_eq!(sides[0], (&"serving".into(), &second_pid.into()));
    assert_eq!(sides[1], (&"draining".into(), &first_pid.into()));
    assert_eq!(runs[1]["rules"][0]["traffic"]["open"], 1);
    let both = text(&first.ask("status").stdout);
    assert!(both.contains("draining: 1 connections are left"), "{both}");
    assert_eq!(first.json("connections").as_array().map(Vec::len), Some(1));
    // The path leads to who takes new connections; so do the probes.
    let leads_to = fs::read_link(&first.socket).expect("it is a link");
    assert_eq!(leads_to.to_str(), Some(format!("admin.sock.{second_pid}").as_str()));
    assert_eq!(text(&first.ask("reload").stdout), "reloaded: nothing has changed\n");
    assert_eq!(get(&lab, "/readyz"), ("200".to_owned(), "ready\n".to_owned()));
    talk.end();
    first.foreword.wait(PATIENCE).expect("it ends with its connections");
    let left = first.json("status");
    assert_eq!(left["runs"].as_array().map(Vec::len), Some(1));
    second.terminate().expect("it ends after SIGTERM");
    let names: Vec<_> = fs::read_dir(first.folder.path()).expect("it is there").collect();
    assert!(names.is_empty(), "{names:?}");
}

#[apply(lab_test)]
fn probes_tell_serving_from_draining() {
    let family = Family::V4;
    let lab = lab();
    let backend = backend(&lab, family);
    let mut run = Run::start(&lab, rule(PORT, "none"));
    let talk = Talk::begin(connect(&lab, family, &backend));
    assert_eq!(get(&lab, "/readyz"), ("200".to_owned(), "ready\n".to_owned()));
    assert_eq!(get(&lab, "/healthz"), ("200".to_owned(), "ok\n".to_owned()));
    run.foreword.signal(Signal::SIGTERM).expect("it runs");
    wait_for(&run.foreword, "draining 1 connections", 1);
    assert_eq!(get(&lab, "/readyz"), ("503".to_owned(), "draining\n".to_owned()));
    assert_eq!(get(&lab, "/healthz"), ("200".to_owned(), "ok\n".to_owned()));
    let draining = run.ask("status");
    assert_eq!(draining.status.code(), Some(1), "nothing takes new connections");
    talk.end();
    run.foreword.wait(PATIENCE).expect("it ends with its connections");
    assert_eq!(get(&lab, "/readyz").0, "000", "nobody listens");
}

#[apply(lab_test)]
fn a_process_that_is_gone_is_seen_by_its_pins() {
    with_own_bpffs(see_a_process_that_is_gone);
}

fn see_a_process_that_is_gone() {
    let family = Family::V4;
    let lab = lab();
    let backend = backend(&lab, family);
    let rule = Rule::new("web", PORT).inbound("require", ["10.77.1.2"]);
    let mut run = Run::start(&lab, Config::on("eth0").rule(rule));
    let mut refused = connect(&lab, family, &backend);
    refused.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(refused.finish_and_rest(), Reply::ended(b""));
    let open = connect(&lab, family, &backend);
    let traffic = |name: &str| run.json("status")["runs"][0]["rules"][0]["traffic"][name].clone();
    wait_until(PATIENCE, "both", || traffic("open") == 1 && traffic("accepted") == 2)
        .expect("they are there");
    // Maps are written once a second.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let instance = run.json("status")["runs"][0]["instance"].clone();
    run.foreword.kill().expect("it runs");
    let status = run.json("status");
    assert_eq!(status["runs"], Value::Array(Vec::new()));
    let others = status["others"].as_array().expect("a list");
    let left = others.iter().find(|other| other["instance"] == instance).expect("it is seen");
    assert_eq!((&left["isAlive"], &left["refused"]["no-header"]), (&false.into(), &1.into()));
    assert!(left["packets"]["steered-syn"].as_u64() >= Some(2), "{left}");
    let report = run.ask("status");
    assert_eq!(report.status.code(), Some(1));
    let line = format!("instance {instance}: its process is gone; `foreword cleanup` removes");
    assert!(text(&report.stdout).contains(&line), "{report:?}");
    drop(open);
    cleanup(&lab.node);
    let status = run.json("status");
    let others = status["others"].as_array().expect("a list");
    assert!(others.iter().all(|other| other["instance"] != instance), "{status}");
}

#[apply(lab_test)]
fn nobody_else_may_ask() {
    let lab = lab();
    let run = Run::start(&lab, rule(PORT, "none"));
    let socket = fs::canonicalize(&run.socket).expect("it leads to a socket");
    let mode = fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Even when they can get there.
    for path in [&socket, run.folder.path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("root may");
    }
    let script = format!(
        "import os, socket\nos.setuid(65534)\ns = socket.socket(socket.AF_UNIX)\n\
         s.connect('{}')\ns.sendall(b'{{\"ask\":\"status\"}}\\n')\nprint(s.makefile().readline())",
        socket.display()
    );
    let answer = Command::new("python3").args(["-c", &script]).output();
    let answer = answer.expect("python3 is installed");
    let words = text(&answer.stdout);
    assert!(words.contains("only root and the user that runs it may ask"), "{answer:?}");
}

#[apply(lab_test)]
fn nonsense_is_answered_in_words() {
    let lab = lab();
    let run = Run::start(&lab, rule(PORT, "none"));
    for (question, words) in [
        ("hello", "this is nothing that can be asked"),
        ("{\"ask\":\"everything\"}", "unknown variant `everything`, expected one of `status`"),
        ("", "this is nothing that can be asked"),
    ] {
        let script = format!(
            "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('{}')\n\
             s.sendall(b'{question}\\n')\nprint(s.makefile().readline())",
            run.socket.display()
        );
        let answer = Command::new("python3").args(["-c", &script]).output();
        let answer = text(&answer.expect("python3 is installed").stdout);
        assert!(answer.starts_with("{\"error\":") && answer.contains(words), "{answer}");
    }
    assert_eq!(run.ask("status").status.code(), Some(0), "and it goes on");
}

#[apply(lab_test)]
fn nothing_runs_here() {
    let folder = TempDir::new().expect("a folder can be made");
    let socket = folder.path().join("admin.sock");
    let status = ask(&socket, "status");
    assert_eq!(status.status.code(), Some(1));
    let reload = ask(&socket, "reload");
    let words =
        format!("no Foreword answers at {}; --socket names another place", socket.display());
    assert!(text(&reload.stderr).contains(&words), "{reload:?}");
    let watch = ask(&socket, "status --watch");
    assert!(text(&watch.stderr).contains("--watch needs a terminal"), "{watch:?}");
}

#[apply(lab_test)]
fn another_place_that_can_not_be_had_is_an_error() {
    let lab = lab();
    let flags = ["eth0", "--port", "80", "--inbound", "off", "--outbound", "none"];
    for (flag, value, words) in [
        ("--admin-socket", "/proc/foreword/a.sock", "cannot listen at /proc/foreword/a.sock."),
        ("--admin-http", "192.0.2.1:80", "cannot listen at 192.0.2.1:80"),
    ] {
        let mut foreword =
            Foreword::spawn(&lab.node, FOREWORD.path(), &[&flags[..], &[flag, value]].concat())
                .expect("it starts");
        let status = foreword.wait(PATIENCE).expect("it ends by itself");
        assert_eq!(status.code(), Some(1), "{}", foreword.output());
        assert!(foreword.output().contains(words), "{}", foreword.output());
    }
}
