//! Two Forewords on different interfaces with one path for their admin sockets: it leads to the one that
//! began last, and when that one is gone, to the one that still runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use netlab::{Config, ConfigFile, Foreword, Lab, PATIENCE, PORT, Rule, lab, wait_until};
use tempfile::TempDir;

use crate::FOREWORD;
use crate::config_file::wait_for;

/// Two runs, the later one last.
struct Both {
    runs: [Foreword; 2],
    configs: [ConfigFile; 2],
    socket: PathBuf,
    _folder: TempDir,
}

impl Both {
    fn start(lab: &Lab) -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        let socket = folder.path().join("admin.sock");
        let configs = ["eth0", "eth1"].map(|card| ConfigFile::saying(config(&socket, card, PORT)));
        let runs = configs.each_ref().map(|config| FOREWORD.run(&lab.node, config));
        Self { runs, configs, socket, _folder: folder }
    }

    fn ask(&self, words: &str) -> Output {
        let mut command = Command::new(FOREWORD.path());
        command.args(words.split_whitespace()).arg("--socket").arg(&self.socket);
        command.output().expect("the binary can be run")
    }

    fn leads_to(&self, run: usize) -> bool {
        let name = format!("admin.sock.{}", self.runs[run].pid());
        fs::read_link(&self.socket).is_ok_and(|to| to == Path::new(&name))
    }

    /// The first one is told to read its file again, and it is the only one that is shown.
    #[track_caller]
    fn assert_first_is_found(&self) {
        let status = self.ask("status");
        let shown = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.status.success() && shown.contains("eth0 (protected"), "{status:?}");
        // It also sees the change by itself, and may have been faster.
        self.configs[0].say(config(&self.socket, "eth0", PORT + 1));
        let reload = self.ask("reload");
        assert!(reload.status.success(), "{reload:?}");
        wait_for(&self.runs[0], &format!("{}", PORT + 1), 1);
    }
}

fn config(socket: &Path, card: &str, port: u16) -> Config {
    let socket = format!("admin: {{ socket: {} }}", socket.display());
    Config::on(card).with(socket).rule(Rule::new("web", port))
}

/// `reload` finds it at once, and the link leads to it a moment later.
#[apply(lab_test)]
fn the_path_goes_back_to_the_one_that_lives() {
    let lab = lab();
    let mut both = Both::start(&lab);
    assert!(both.leads_to(1));
    both.runs[1].terminate().expect("it ends after SIGTERM");
    both.assert_first_is_found();
    wait_until(PATIENCE, "the link", || both.leads_to(0)).expect("it leads to the first one");
    both.runs[0].terminate().expect("it ends after SIGTERM");
    assert!(!both.socket.is_symlink(), "nothing is left");
}

#[apply(lab_test)]
fn the_path_goes_back_when_the_later_one_is_killed() {
    let lab = lab();
    let mut both = Both::start(&lab);
    both.runs[1].kill().expect("it runs");
    both.assert_first_is_found();
    wait_until(PATIENCE, "the link", || both.leads_to(0)).expect("it leads to the first one");
}
