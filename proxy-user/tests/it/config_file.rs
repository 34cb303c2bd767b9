//! A configuration file that a test writes, and a `foreword run` of it.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use xtask::lab::{Foreword, Lab, wait_until};

use crate::client::PATIENCE;
use crate::setup::foreword;

/// The rule of [`FLAGS`](crate::probe::FLAGS) in a file, with HTTP on, and all else by default.
pub const REQUIRE_ON_80: &str = "
interfaces: [eth0]
admin: { http: \"127.0.0.1:9478\" }
rules:
  - name: web
    ports: [80]
    inbound: { mode: require, trusted: [10.77.1.2, 'fd77:1::2'] }
    outbound: { version: v1 }
";

/// A file, and what it may say.
pub struct ConfigFile {
    folder: TempDir,
}

impl ConfigFile {
    pub fn saying(text: &str) -> Self {
        let config = Self { folder: TempDir::new().expect("a folder can be made") };
        config.say(text);
        config
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    /// Written beside it and renamed, so that nobody reads half of it.
    pub fn say(&self, text: &str) {
        let next = self.folder.path().join("next");
        fs::write(&next, text).expect("it can be written");
        fs::rename(next, self.path()).expect("it can be renamed");
    }

    pub fn run(&self, lab: &Lab) -> Foreword {
        Foreword::run(&lab.node, foreword(), &self.path())
            .unwrap_or_else(|error| panic!("`foreword run`: {error:#}"))
    }
}

/// One rule for a port: nobody's header is read, and the upstream gets one of this version.
pub fn rule(port: u16, version: &str) -> String {
    format!(
        "interfaces: [eth0]\nrules:\n  - name: web\n    ports: [{port}]\n    \
         inbound: {{ mode: off }}\n    outbound: {{ version: {version} }}\n"
    )
}

/// Waits until it has said a word so many times.
#[track_caller]
pub fn wait_for(foreword: &Foreword, word: &str, times: usize) {
    wait_until(PATIENCE, word, || foreword.output().matches(word).count() >= times)
        .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
}
