//! Running cargo on this workspace.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Artifact, Message, Metadata, MetadataCommand};

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

/// What a command writes to stdout; one that fails is an error with what it wrote to stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let line = ui::shell_line(command);
    let output = command.output().with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` failed ({}): {}", output.status, error.trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The folder that cargo builds into.
pub fn target_dir() -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec();
    Ok(metadata.context("cannot ask cargo for its target folder")?.target_directory.into())
}

/// The packages of this workspace and those that they need, in a build for this target.
pub fn metadata(target: &str) -> Result<Metadata> {
    let options = ["--filter-platform".to_owned(), target.to_owned()];
    let metadata = MetadataCommand::new().current_dir(root()).other_options(options).exec();
    metadata.context("`cargo metadata` failed")
}

/// Has cargo build something, with its own progress shown, and returns what it has made.
pub fn build(arguments: &[&str]) -> Result<Vec<Artifact>> {
    let mut command = cargo();
    command.args(arguments).arg("--message-format=json-render-diagnostics");
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`cargo {}` failed; cargo's messages are above", arguments.join(" "));
    }
    let artifacts = Message::parse_stream(&output.stdout[..]).filter_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) => Some(Ok(artifact)),
        Ok(_) => None,
        Err(error) => Some(Err(error.into())),
    });
    artifacts.collect()
}

/// Where a program lies that was built.
pub fn executable(artifacts: &[Artifact], name: &str) -> Result<PathBuf> {
    let mut of_name = artifacts.iter().filter(|artifact| artifact.target.name == name);
    let path = of_name.find_map(|artifact| artifact.executable.clone());
    Ok(path.with_context(|| format!("cargo built {name} and does not say where"))?.into())
}
