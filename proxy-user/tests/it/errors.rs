//! Errors: one sentence that says what and how to mend it, the right exit code, and nothing half
//! attached.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use netlab::header::v1;
use netlab::{Backend, Client, Family, Lab, OFF, PORT, Reply, Scratch, echo, join, lab};

use crate::FOREWORD;
use crate::footprint::NodeState;

/// Exit codes of the command line.
const USAGE: i32 = 2;
const FAILURE: i32 = 1;

/// Asserts the exit code and the one `error: ` line on stderr; that line must hold each of `words`.
#[track_caller]
fn assert_error(output: &Output, code: i32, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{stderr}");
    let message = stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(words.iter().all(|word| message.contains(word)), "not all of {words:?} in: {message}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(!stdout.lines().any(|line| line.starts_with("ready")), "{stdout}");
    if code == FAILURE {
        assert_eq!(stderr.lines().last(), Some(message), "one sentence, and nothing behind it");
    }
}

/// Runs `foreword attach FLAGS` to its end, and asserts that the node stays as it was.
fn run(lab: &Lab, flags: &str) -> Output {
    let mut command = FOREWORD.command(&lab.node);
    command.arg("attach").args(flags.split_whitespace());
    run_command(lab, &mut command)
}

fn run_command(lab: &Lab, command: &mut Command) -> Output {
    let before = NodeState::of(&lab.node);
    // An attempt that succeeds by mistake would go on for ever.
    let output = bounded(command).output().expect("the binary can be run");
    before.assert_restored(&lab.node);
    output
}

/// A command that is ended after 20 seconds.
fn bounded(command: &Command) -> Command {
    let mut bounded = Command::new("timeout");
    bounded.arg("20").arg(command.get_program()).args(command.get_args());
    bounded
}

#[apply(lab_test)]
fn a_wrong_command_line_is_a_usage_error() {
    let lab = lab();
    let cases: [(&str, &[&str]); 16] = [
        ("eth0 --port 80 --inbound require --outbound none", &["--trust"]),
        ("eth0 --port 80 --inbound optional --outbound none", &["--trust"]),
        ("eth0 --port 80 REQUIRE --trust 10.0.0.0/33", &["10.0.0.0/33"]),
        ("eth0 --port 80 REQUIRE --trust 10.1.2.3/8", &["10.1.2.3/8", "10.0.0.0/8"]),
        ("eth0 --port 80 REQUIRE --trust lb.example", &["lb.example"]),
        ("eth0 --port 65536 REQUIRE", &["65536"]),
        ("eth0 --port 0 REQUIRE", &["'0'"]),
        ("eth0 --port http REQUIRE", &["http"]),
        ("eth0 --port 90-80 REQUIRE", &["90-80"]),
        ("eth0 REQUIRE", &["--port"]),
        ("--port 80 REQUIRE", &["IFACE"]),
        ("eth0 --port 80 REQUIRE --frobnicate", &["--frobnicate"]),
        ("eth0 --port 80 --inbound maybe --outbound none", &["maybe"]),
        ("eth0 --port 80 --inbound off --outbound v3", &["v3"]),
        ("eth0 --port 80 REQUIRE --upstream nowhere", &["nowhere"]),
        ("eth0 --port 80 REQUIRE --drain-timeout soon", &["soon"]),
    ];
    for (flags, words) in cases {
        let valid = "--inbound require --trust 10.77.1.2 --outbound none";
        let output = run(&lab, &flags.replace("REQUIRE", valid));
        let stderr = String::from_utf8_lossy(&output.stderr);
        // clap names a missing argument on the lines below its sentence.
        let message = stderr.replace('\n', " ");
        assert_eq!(output.status.code(), Some(USAGE), "{flags}: {stderr}");
        assert!(stderr.starts_with("error: "), "{flags}: {stderr}");
        assert!(words.iter().all(|word| message.contains(word)), "{flags}: {stderr}");
    }
}

#[apply(lab_test)]
fn an_unknown_interface_is_named() {
    let lab = lab();
    let output = run(&lab, &format!("nope0 --port 80 {OFF} --outbound none"));
    assert_error(&output, FAILURE, &["nope0"]);
}

#[apply(lab_test)]
fn one_wrong_interface_of_two_leaves_neither_attached() {
    let lab = lab();
    let output = run(&lab, &format!("eth0 nope0 --port 80 {OFF} --outbound none"));
    assert_error(&output, FAILURE, &["nope0"]);
}

const ATTACH: &str = "attach eth0 --port 80 --inbound off --outbound none";

/// `setpriv` with these options, then `foreword`, from a folder that everybody may read.
fn run_restricted(lab: &Lab, options: &[&str], arguments: &str) -> Output {
    let scratch = Scratch::new();
    let copy = scratch.path().join("foreword");
    fs::copy(FOREWORD.path(), &copy).expect("the binary can be read");
    for path in [scratch.path(), &copy] {
        let readable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(path, readable).expect("a file of ours takes a mode");
    }
    let mut command = lab.node.command("setpriv");
    command.args(options).arg(&copy).args(arguments.split_whitespace());
    run_command(lab, &mut command)
}

/// `nobody`, without groups or capabilities.
const USER: [&str; 4] = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];

#[apply(lab_test)]
fn an_ordinary_user_is_told_what_is_missing() {
    assert_error(&run_restricted(&lab(), &USER, ATTACH), FAILURE, &["root", "CAP_NET_ADMIN"]);
}

#[apply(lab_test)]
fn cleanup_as_an_ordinary_user_says_so() {
    assert_error(&run_restricted(&lab(), &USER, "cleanup"), FAILURE, &["root"]);
}

#[apply(lab_test)]
fn a_missing_capability_is_named() {
    let without = ["--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    assert_error(&run_restricted(&lab(), &without, ATTACH), FAILURE, &["CAP_NET_ADMIN"]);
}

/// The message names the process that is there already, and that process goes on serving.
#[apply(lab_test)]
fn an_interface_is_attached_only_once() {
    let lab = lab();
    let first = FOREWORD.attach(&lab.node, &format!("eth0 --port {PORT} {OFF} --outbound v1"));
    let pid = first.pid().to_string();
    for flags in ["eth0 --port 80", "eth0 --port 443", "lo eth0 --port 443"] {
        let output = run(&lab, &format!("{flags} {OFF} --outbound none"));
        assert_error(&output, FAILURE, &["eth0", &pid]);
    }
    for family in Family::BOTH {
        let address = (family.vip(), PORT).into();
        let backend = Backend::start(&lab.backend, address, echo);
        let mut client = Client::connect(&lab.client, family.lb(), address);
        client.send(b"hello");
        let header = v1(client.address(), address);
        assert_eq!(client.finish_and_rest(), Reply::ended(&join(&header, b"hello")));
        drop(backend);
    }
}
