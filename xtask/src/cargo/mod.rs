//! Running cargo on this workspace.

mod metadata;

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

pub use self::metadata::{Metadata, Package};
use crate::static_link::TARGET;
use crate::ui;

/// The workspace's root folder.
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Cargo's own folder: what it has installed and downloaded.
pub fn home() -> PathBuf {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| env::home_dir().map(|home| home.join(".cargo"))).unwrap_or("~/.cargo".into())
}

/// The cargo that runs us, at the workspace's root.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command on the user's terminal; one that fails is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let line = ui::shell_line(command);
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// The folder that cargo builds into.
pub fn target_dir() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["metadata", "--no-deps", "--format-version=1"]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("cannot read what `cargo metadata` said")?;
    let folder = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    Ok(folder.into())
}

/// What code is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Cargo's default: quickly compiled, with checks.
    Dev,
    /// As it is shipped.
    Release,
}

impl Profile {
    const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }
}

/// A program of this workspace.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    package: &'static str,
    kind: Kind,
    name: &'static str,
}

/// What a program is to its package.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Binary,
    Example,
}

/// The product.
pub const FOREWORD: Program =
    Program { package: "proxy-user", kind: Kind::Binary, name: "foreword" };
/// Foreword's relay behind a listener.
pub const LISTENER: Program =
    Program { package: "proxy-user", kind: Kind::Example, name: "listener" };
/// These developer commands.
pub const XTASK: Program = Program { package: "xtask", kind: Kind::Binary, name: "xtask" };

/// Builds `foreword`, and gives back where it lies.
pub fn build_foreword(profile: Profile) -> Result<PathBuf> {
    let [foreword] = build([FOREWORD], profile, &[])?;
    Ok(foreword)
}

/// Builds `foreword` without a need for other files, and gives back where it lies, with the ids of
/// the packages that were compiled for it.
pub fn build_static_foreword(profile: Profile) -> Result<(PathBuf, BTreeSet<String>)> {
    let messages = messages([FOREWORD], profile, &[&format!("--target={TARGET}")])?;
    let [foreword] = executables(&messages, [FOREWORD])?;
    Ok((foreword, compiled(&messages, TARGET)))
}

/// Builds programs together, so that what they share is compiled once, and gives back where each
/// lies.
pub fn build_together<const N: usize>(
    programs: [Program; N],
    profile: Profile,
) -> Result<[PathBuf; N]> {
    build(programs, profile, &[])
}

/// Cargo's own progress is shown.
fn build<const N: usize>(
    programs: [Program; N],
    profile: Profile,
    more: &[&str],
) -> Result<[PathBuf; N]> {
    executables(&messages(programs, profile, more)?, programs)
}

/// What Cargo says of a build that succeeds: JSON, one message on each line.
fn messages<const N: usize>(
    programs: [Program; N],
    profile: Profile,
    more: &[&str],
) -> Result<Vec<u8>> {
    let mut command = cargo();
    command.arg("build").arg(format!("--profile={}", profile.name()));
    for Program { package, kind, name } in programs {
        let target = match kind {
            Kind::Binary => "--bin",
            Kind::Example => "--example",
        };
        command.args(["--package", package, target, name]);
    }
    command.args(more);
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().context("cannot run cargo")?;
    if !output.status.success() {
        let names = programs.map(|program| program.name);
        bail!("cannot build {}; cargo's messages are above", names.join(" and "));
    }
    Ok(output.stdout)
}

/// Where each program lies.
fn executables<const N: usize>(messages: &[u8], programs: [Program; N]) -> Result<[PathBuf; N]> {
    let names = programs.map(|program| program.name);
    let mut paths = names.map(|_| PathBuf::new());
    for (path, name) in paths.iter_mut().zip(names) {
        *path = executable(messages, name)
            .with_context(|| format!("cargo built {name} and does not say where"))?;
    }
    Ok(paths)
}

/// Finds the path of a binary among cargo's JSON messages, one on each line.
pub fn executable(messages: &[u8], name: &str) -> Option<PathBuf> {
    messages.split(|&byte| byte == b'\n').find_map(|line| {
        let message: Value = serde_json::from_slice(line).ok()?;
        let is_it = message["target"]["name"] == name && message["reason"] == "compiler-artifact";
        is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
    })
}

/// The ids of packages that were compiled for a target, and not for what runs during the build.
/// Whatever is for another machine's kind lies in a folder of its own.
fn compiled(messages: &[u8], target: &str) -> BTreeSet<String> {
    let ids = messages.split(|&byte| byte == b'\n').filter_map(|line| {
        let message: Value = serde_json::from_slice(line).ok()?;
        let mut files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
        let is_for_it = files.any(|file| Path::new(file).iter().any(|part| part == target));
        is_for_it.then(|| message["package_id"].as_str().map(str::to_owned))?
    });
    ids.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_binary_and_not_the_library_of_the_same_name() {
        let messages =
            br#"{"reason":"compiler-artifact","target":{"name":"foreword"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"foreword"},"executable":"/t/debug/foreword"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages, "foreword"), Some("/t/debug/foreword".into()));
        assert_eq!(executable(messages, "backward"), None);
    }

    #[test]
    fn what_runs_during_the_build_is_not_part_of_it() {
        let messages = br#"{"reason":"compiler-artifact","package_id":"a","filenames":["/t/debug/deps/liba.rlib"]}
{"reason":"compiler-artifact","package_id":"b","filenames":["/t/m-musl/debug/deps/libb.rlib"]}
{"reason":"compiler-artifact","package_id":"c","filenames":["/t/debug/deps/libc.so"]}
{"reason":"build-script-executed","package_id":"d","out_dir":"/t/m-musl/debug/build/d/out"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(compiled(messages, "m-musl"), ["b".to_owned()].into());
    }
}
