//! A configuration file that changes while Foreword runs: what it says next holds for what comes
//! next, and for nothing that is there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use netlab::header::v1;
use netlab::{
    Backend, Client, Config, ConfigFile, Family, Foreword, Lab, PATIENCE, PORT, Reply, Rule, echo,
    join, lab,
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::FOREWORD;
use crate::config_file::{rule, wait_for};
use crate::flood::say;
use crate::talk::Talk;

const LOOPS: usize = 4;
const CHANGES: usize = 50;

/// Whether a connection of the load balancer's gets a v1 header.
#[track_caller]
fn has_header(lab: &Lab, family: Family, backend: &Backend) -> bool {
    let to = backend.address();
    let mut client = Client::connect(&lab.client, family.lb(), to);
    let header = v1(client.address(), to);
    client.send(b"hello");
    let reply = client.finish_and_rest();
    let with = reply == Reply::ended(&join(&header, b"hello"));
    assert!(with || reply == Reply::ended(b"hello"), "{reply:?}");
    with
}

fn backend(lab: &Lab, family: Family) -> Backend {
    Backend::start(&lab.backend, (family.vip(), PORT).into(), echo)
}

#[apply(both_families)]
fn a_signal_has_it_read_again(family: Family) {
    let lab = lab();
    let backend = backend(&lab, family);
    let config = ConfigFile::saying(rule(PORT, "none"));
    let foreword = FOREWORD.run(&lab.node, &config);
    assert!(!has_header(&lab, family, &backend));
    let talk = Talk::begin(Client::connect(&lab.client, family.lb(), backend.address()));
    foreword.signal(Signal::SIGHUP).expect("it runs");
    wait_for(&foreword, "reloaded: nothing has changed", 1);
    config.say(rule(PORT, "v1"));
    wait_for(&foreword, "rules.web.outbound.version: none → v1", 1);
    assert!(has_header(&lab, family, &backend));
    talk.assert_goes_on("under another rule than its own");
    talk.end();
}

#[apply(both_families)]
fn a_file_that_changes_is_read_again(family: Family) {
    let lab = lab();
    let backend = backend(&lab, family);
    let config = ConfigFile::saying(rule(PORT, "v1"));
    let foreword = FOREWORD.run(&lab.node, &config);
    assert!(has_header(&lab, family, &backend));
    // In place, as an editor may do it.
    fs::write(config.path(), rule(PORT, "none").to_string()).expect("it can be written");
    wait_for(&foreword, "rules.web.outbound.version: v1 → none", 1);
    assert!(!has_header(&lab, family, &backend));
}

/// The kubelet renames a symlink to another folder over the one that the files' symlinks lead by.
#[apply(lab_test)]
fn a_config_map_that_is_exchanged_is_read_again() {
    let family = Family::V4;
    let lab = lab();
    let backend = backend(&lab, family);
    let folder = TempDir::new().expect("a folder can be made");
    let generation = |name: &str, config: &Config| {
        let path = folder.path().join(name);
        fs::create_dir(&path).expect("a folder can be made");
        fs::write(path.join("config.yaml"), config.to_string()).expect("it can be written");
        let next = folder.path().join("..data_tmp");
        symlink(Path::new(name), &next).expect("a link can be made");
        fs::rename(next, folder.path().join("..data")).expect("it can be renamed");
    };
    generation("..1", &rule(PORT, "none"));
    let path = folder.path().join("config.yaml");
    symlink("..data/config.yaml", &path).expect("a link can be made");
    let foreword = Foreword::run(&lab.node, FOREWORD.path(), &path).expect("it runs");
    assert!(!has_header(&lab, family, &backend));
    for (name, version) in [("..2", "v1"), ("..3", "none"), ("..4", "v1")] {
        generation(name, &rule(PORT, version));
        wait_for(&foreword, &format!("→ {version}"), if name == "..4" { 2 } else { 1 });
        assert_eq!(has_header(&lab, family, &backend), version == "v1");
    }
}

#[apply(lab_test)]
fn a_wrong_file_changes_nothing() {
    let family = Family::V4;
    let lab = lab();
    let backend = backend(&lab, family);
    let config = ConfigFile::saying(rule(PORT, "v1"));
    let foreword = FOREWORD.run(&lab.node, &config);
    for (wrong, why) in [
        (rule(PORT, "v3").to_string(), "outbound.version 'v3' is not valid"),
        (rule(PORT, "none").to_string().replace("inbound:", "inbond:"), "did you mean 'inbound'?"),
        (String::new(), "the file is empty"),
    ] {
        config.say(&wrong);
        wait_for(&foreword, why, 1);
        assert!(has_header(&lab, family, &backend), "{why}");
    }
    fs::remove_file(config.path()).expect("it is there");
    wait_for(&foreword, "cannot read", 1);
    assert!(has_header(&lab, family, &backend));
    config.say(rule(PORT, "none"));
    wait_for(&foreword, "v1 → none", 1);
    assert!(!has_header(&lab, family, &backend));
}

#[apply(lab_test)]
fn what_takes_a_new_process_is_refused() {
    let family = Family::V4;
    let lab = lab();
    let backend = backend(&lab, family);
    let config = ConfigFile::saying(rule(PORT, "v1"));
    let foreword = FOREWORD.run(&lab.node, &config);
    config.say(Config::on("eth1").rule(Rule::new("web", PORT)));
    wait_for(&foreword, "interfaces can't be changed while it runs", 1);
    assert!(has_header(&lab, family, &backend));
}

/// What began as ours stays ours, and what comes goes past us.
#[apply(both_families)]
fn a_port_that_is_taken_away_keeps_its_connections(family: Family) {
    let lab = lab();
    let backend = backend(&lab, family);
    let config = ConfigFile::saying(rule(PORT, "none"));
    let mut foreword = FOREWORD.run(&lab.node, &config);
    let talk = Talk::begin(Client::connect(&lab.client, family.lb(), backend.address()));
    config.say(rule(PORT + 1, "none"));
    wait_for(&foreword, "rules.web.ports: -80 +81", 1);
    talk.assert_goes_on("without a rule");
    let passer_by = Talk::begin(Client::connect(&lab.client, family.lb(), backend.address()));
    assert_eq!(backend.recording(1).peer.ip(), family.lb(), "it is not proxied");
    config.say(rule(PORT, "v1"));
    wait_for(&foreword, "rules.web.ports: -81 +80", 1);
    assert!(has_header(&lab, family, &backend));
    for talk in [talk, passer_by] {
        talk.assert_goes_on("whatever the rules say");
        talk.end();
    }
    foreword.terminate().expect("it ends after SIGTERM");
}

#[apply(both_families)]
fn no_connection_fails_across_fifty_changes(family: Family) {
    let lab = lab();
    let backend = backend(&lab, family);
    let config = ConfigFile::saying(rule(PORT, "none"));
    let foreword = FOREWORD.run(&lab.node, &config);
    let (over, served) = (AtomicBool::new(false), AtomicU32::new(0));
    scope(|scope| {
        for _ in 0..LOOPS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    has_header(&lab, family, &backend);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for change in 1..=CHANGES {
            // Every other time, the rule has another port for a moment.
            let (port, version) = match change % 4 {
                0 => (PORT, "none"),
                2 => (PORT + 1, "none"),
                _ => (PORT, "v1"),
            };
            config.say(rule(port, version));
            foreword.signal(Signal::SIGHUP).expect("it runs");
            sleep(Duration::from_millis(50));
        }
        over.store(true, Ordering::Relaxed);
    });
    let reloads = foreword.output().matches("reloaded").count();
    let served = served.into_inner();
    say(&format!("reload {family:?}: {served} connections across {reloads} reloads, none failed"));
    assert!(reloads >= CHANGES / 2, "{}", foreword.output());
    assert!(served > 100, "{served}");
}

#[apply(lab_test)]
fn a_second_run_takes_over() {
    let family = Family::V4;
    let lab = lab();
    let backend = backend(&lab, family);
    let first_config = ConfigFile::saying(rule(PORT, "none"));
    let mut first = FOREWORD.run(&lab.node, &first_config);
    let talk = Talk::begin(Client::connect(&lab.client, family.lb(), backend.address()));
    let second_config = ConfigFile::saying(rule(PORT, "v1"));
    let _second = FOREWORD.run(&lab.node, &second_config);
    assert!(has_header(&lab, family, &backend));
    talk.assert_goes_on("with its own process");
    talk.end();
    let status = first.wait(PATIENCE).expect("it ends with its connections");
    assert_eq!(status.code(), Some(0), "{}", first.output());
}
