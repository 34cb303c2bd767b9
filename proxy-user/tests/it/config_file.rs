//! Configurations that many tests are run by.

use std::fmt::Display;

use netlab::{Config, Foreword, PATIENCE, Rule, wait_until};

/// The rule of [`FLAGS`](crate::probe::FLAGS) in a file, with HTTP on, and all else by default.
pub fn require_on_80() -> Config {
    let rule = Rule::new("web", 80).inbound("require", ["10.77.1.2", "fd77:1::2"]).outbound("v1");
    Config::on("eth0").with("admin: { http: \"127.0.0.1:9478\" }").rule(rule)
}

/// One rule for a port: no header is read, and the upstream gets one of this version.
pub fn rule(port: impl Display, version: &str) -> Config {
    Config::on("eth0").rule(Rule::new("web", port).outbound(version))
}

/// Waits until the output has a word this many times.
#[track_caller]
pub fn wait_for(foreword: &Foreword, word: &str, times: usize) {
    wait_until(PATIENCE, word, || foreword.output().matches(word).count() >= times)
        .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
}
