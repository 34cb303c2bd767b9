//! The lock on an interface, and who may have it: what users without rights, a process of root's
//! without capabilities, and containers that share nothing can do to it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use netlab::{
    Backend, Client, Config, ConfigFile, Daemon, Family, Foreword, Lab, Netns, PATIENCE, PORT,
    Rule, hooks, lab, output_of, wait_until,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::FOREWORD;
use crate::admin::get;
use crate::config_file::wait_for;
use crate::probe::{FLAGS, assert_served, echoes};

const FOLDER: &str = "/run/foreword/locks";

/// A process that was started beside, and is killed with the test.
struct Beside(Child);

impl Beside {
    /// A Python program, once it has said its first line.
    fn python(mut command: Command, program: &str) -> (Self, String) {
        command.args(["/usr/bin/python3", "-c", program]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("setpriv is installed");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says a line");
        (Self(child), line.trim().to_owned())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn number_of(node: &Netns) -> u64 {
    node.run(|| fs::metadata("/proc/thread-self/ns/net")).expect("it is there").ino()
}

fn index_of(node: &Netns, interface: &str) -> String {
    let mut command = node.command("ip");
    command.args(["-o", "link", "show", "dev", interface]);
    output_of(command).split(':').next().unwrap_or_default().to_owned()
}

/// What whoever had the lock of the node's `eth0` last has written there: the name of its socket, and
/// its pid.
fn signature(node: &Netns) -> Option<(String, u32)> {
    let lock = format!("{FOLDER}/{}-{}", number_of(node), index_of(node, "eth0"));
    let text = fs::read_to_string(&lock).ok()?;
    let mut words = text.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

/// Its pid.
pub fn owner(node: &Netns) -> Option<u32> {
    signature(node).map(|(_, pid)| pid)
}

/// Where it can be asked.
fn socket(node: &Netns) -> PathBuf {
    let (name, _) = signature(node).expect("somebody has the lock");
    Path::new(FOLDER).join(format!("{name}.sock"))
}

fn assert_untouched(foreword: &mut Foreword, lab: &Lab, backend: &Backend) {
    assert!(foreword.is_running(), "{}", foreword.output());
    assert!(!foreword.output().contains("succeeded"), "{}", foreword.output());
    assert_served(lab, backend, Family::V4);
    let stranger = Family::V4.stranger();
    let patience = Duration::from_millis(300);
    let attempt = Client::try_connect_within(&lab.client, stranger, backend.address(), patience);
    assert!(attempt.is_err(), "the stranger is in");
}

/// `nobody` connects thousands of times, and tries to have the names of locks to come.
#[apply(lab_test)]
fn nobody_can_neither_hold_the_lock_nor_take_names() {
    let lab = lab();
    let [backend, _] = echoes(&lab);
    let flags = format!("{FLAGS} --take-over").replace("eth0", "eth0 late*");
    let mut foreword = FOREWORD.attach(&lab.node, &flags);
    let number = number_of(&lab.node);
    let program = format!(
        "import os, socket, resource\n\
         most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n\
         resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))\n\
         held, made = [], 0\n\
         for path in ['{socket}'] * 6000:\n\
         \x20   s = socket.socket(socket.AF_UNIX)\n\
         \x20   try: s.connect(path); held.append(s)\n\
         \x20   except OSError: s.close()\n\
         for name in ['\\0foreword/%d' % i for i in range(1, 200)]:\n\
         \x20   s = socket.socket(socket.AF_UNIX); s.bind(name); s.listen(); held.append(s)\n\
         connected = len(held) - 199\n\
         for index in range(1, 200):\n\
         \x20   for name in ['{number}-%d' % index, '{number}-%d-draining' % index, 'process-%d' % index]:\n\
         \x20       try: open('{FOLDER}/' + name, 'a'); made += 1\n\
         \x20       except OSError: pass\n\
         for act in [lambda: os.listdir('{FOLDER}'), lambda: os.unlink('{socket}'),\n\
         \x20           lambda: os.rename('{FOLDER}', '/run/foreword/old'),\n\
         \x20           lambda: open('/run/foreword/x', 'w')]:\n\
         \x20   try: act(); made += 1\n\
         \x20   except OSError: pass\n\
         print(connected, made, flush=True)\n\
         import time; time.sleep(600)\n",
        socket = socket(&lab.node).display(),
    );
    let mut command = lab.node.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    let (beside, reached) = Beside::python(command, &program);
    assert_eq!(reached, "0 0", "connections, and files made or removed");
    assert_untouched(&mut foreword, &lab, &backend);
    lab.node.ip("link add late0 link eth1 type macvlan").expect("root may make links");
    wait_until(PATIENCE, "the late interface", || foreword.output().contains("has come"))
        .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
    assert!(!foreword.output().contains("can't be attached"), "{}", foreword.output());
    let second = FOREWORD.attach(&lab.node, &flags);
    foreword.wait(PATIENCE).expect("it has nothing to wait for");
    assert_served(&lab, &backend, Family::V4);
    drop((second, beside));
}

/// It is of the same user, and so it may ask; it has nothing to show.
#[apply(lab_test)]
fn root_without_capabilities_changes_nothing() {
    for hook in hooks() {
        let lab = lab();
        let [backend, _] = echoes(&lab);
        let flags = format!("{FLAGS} --take-over --hook {hook}");
        let mut foreword = FOREWORD.attach(&lab.node, &flags);
        let program = format!(
            "import json, socket\n\
             path, index = '{socket}', {index}\n\
             def connect():\n\
             \x20   s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(path); return s\n\
             ask = json.dumps({{'interfaces': [index], 'listener': '127.0.0.1:9478'}}).encode() + b'\\n'\n\
             held, answers = [connect() for _ in range(2000)], []\n\
             for what in [ask, b'take over 1\\n', b'[]\\n', b'x' * 100000]:\n\
             \x20   for files in [[], [open('/dev/null').fileno()], [connect().fileno()]]:\n\
             \x20       s = connect()\n\
             \x20       try: socket.send_fds(s, [what], files); answers.append(s.recv(4096).decode())\n\
             \x20       except OSError as error: answers.append(repr(error))\n\
             print(json.dumps([answer.strip() for answer in answers]), flush=True)\n\
             import time; time.sleep(600)\n",
            socket = socket(&lab.node).display(),
            index = index_of(&lab.node, "eth0"),
        );
        let mut command = lab.node.command("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all"]);
        let (beside, answers) = Beside::python(command, &program);
        assert!(answers.contains("refused") && !answers.contains("released"), "{answers}");
        assert!(answers.contains("it has shown no program of its own"), "{answers}");
        assert!(answers.contains("what it has shown is no program"), "{answers}");
        assert_untouched(&mut foreword, &lab, &backend);
        // Its two thousand silent connections keep no successor waiting.
        let second = FOREWORD.attach(&lab.node, &flags);
        foreword.wait(PATIENCE).expect("it has nothing to wait for");
        assert!(!second.output().contains("is stuck"), "{}", second.output());
        assert_served(&lab, &backend, Family::V4);
        drop((second, beside));
    }
}

/// Sets how many descriptors a process may have.
fn limit_descriptors(pid: u32, soft: &str) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid.to_string(), &format!("--nofile={soft}:")]);
    output_of(command);
}

#[apply(lab_test)]
fn want_of_descriptors_ends_no_listening() {
    let lab = lab();
    let [backend, _] = echoes(&lab);
    let flags = format!("{FLAGS} --take-over");
    let mut foreword = FOREWORD.attach(&lab.node, &flags);
    let limits = fs::read_to_string(format!("/proc/{}/limits", foreword.pid())).expect("it runs");
    let limits = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let soft = limits.split_whitespace().nth(3).expect("a number").to_owned();
    limit_descriptors(foreword.pid(), "8");
    let path = socket(&lab.node);
    let held: Vec<_> = (0..40)
        .map(|_| std::os::unix::net::UnixStream::connect(&path).expect("the backlog has room"))
        .collect();
    wait_for(&foreword, "cannot accept a successor now", 2);
    limit_descriptors(foreword.pid(), &soft);
    let second = FOREWORD.attach(&lab.node, &flags);
    foreword.wait(PATIENCE).expect("it has nothing to wait for");
    assert!(!second.output().contains("is stuck"), "{}", second.output());
    assert_served(&lab, &backend, Family::V4);
    drop(held);
}

/// Two containers with a `/run` of their own each. After the first has died, nothing is in the way.
#[apply(lab_test)]
fn a_folder_that_is_not_shared_is_named() {
    for hook in hooks() {
        let lab = lab();
        let [backend, _] = echoes(&lab);
        let mut first = FOREWORD.attach(&lab.node, &format!("{FLAGS} --hook {hook}"));
        let elsewhere = |flags: &str| {
            let mut command = lab.node.command("unshare");
            let script = "mount -t tmpfs tmpfs /run && exec \"$0\" \"$@\"";
            command.args(["--mount", "sh", "-c", script]).arg(FOREWORD.path()).arg("attach");
            command.args(flags.split_whitespace());
            command
        };
        for more in ["", "--take-over"] {
            let flags = format!("{FLAGS} --hook {hook} {more}");
            let mut refused = Daemon::start("foreword", elsewhere(&flags)).expect("it starts");
            let status = refused.wait(PATIENCE).expect("it ends by itself");
            assert_eq!(status.code(), Some(1), "{}", refused.output());
            let output = refused.output();
            assert!(output.contains("eth0 is steered by a Foreword that has no lock"), "{output}");
            assert!(output.contains("hostPath"), "{output}");
            assert_served(&lab, &backend, Family::V4);
        }
        first.kill().expect("it runs");
        let flags = format!("{FLAGS} --hook {hook}");
        let second = Foreword::start(elsewhere(&flags)).expect("nothing is in the way");
        assert_served(&lab, &backend, Family::V4);
        drop(second);
    }
}

/// The driver of a macvlan has no XDP, and it was asked for.
#[apply(lab_test)]
fn an_interface_that_can_not_be_attached_to_is_told() {
    let lab = lab();
    let [backend, _] = echoes(&lab);
    let rule = Rule::new("web", PORT).inbound("require", ["10.77.1.2", "fd77:1::2"]).outbound("v1");
    let config = Config::on("eth0, \"late*\"")
        .with("admin: { http: \"127.0.0.1:9478\" }")
        .with("guardHook: native")
        .rule(rule);
    let config = ConfigFile::saying(config);
    let foreword = FOREWORD.run(&lab.node, &config);
    assert_eq!(get(&lab, "/readyz"), ("200".to_owned(), "ready\n".to_owned()));
    let metric = |interface: &str, value: u8| {
        let line = format!("foreword_interface_attach_failed{{interface=\"{interface}\"}} {value}");
        get(&lab, "/metrics").1.lines().any(|written| written == line)
    };
    assert!(metric("eth0", 0), "{}", get(&lab, "/metrics").1);
    lab.node.ip("link add late0 link eth1 type macvlan").expect("root may make links");
    wait_until(PATIENCE, "not ready", || get(&lab, "/readyz").0 == "503").expect("it is told");
    let (_, body) = get(&lab, "/readyz");
    assert!(body.starts_with("late0 is not steered: cannot attach to late0"), "{body}");
    assert_eq!(get(&lab, "/healthz").0, "200", "a restart would not help");
    assert!(metric("late0", 1) && metric("eth0", 0), "{}", get(&lab, "/metrics").1);
    let mut status = lab.node.command(binary());
    status.arg("status");
    let status = output_of(status);
    assert!(status.contains("late0: NOT STEERED"), "{status}");
    // It is tried again, and said once.
    sleep(Duration::from_secs(6));
    assert_eq!(foreword.output().matches("can't be attached to").count(), 1);
    assert_served(&lab, &backend, Family::V4);
    lab.node.ip("link del late0").expect("it is there");
    wait_until(PATIENCE, "ready", || get(&lab, "/readyz").0 == "200").expect("all is well again");
    assert!(!metric("late0", 1) && !metric("late0", 0), "it is gone");
}

/// A variable of the test has its name.
fn binary() -> &'static Path {
    FOREWORD.path()
}

/// Stops a process, or has it go on.
pub fn signal(foreword: &Foreword, signal: Signal) {
    let pid = Pid::from_raw(foreword.pid().try_into().expect("a pid"));
    kill(pid, signal).expect("it runs");
}
