//! `cargo xtask manifests`: renders the manifests below `scripts/kubernetes` by `kubectl kustomize`,
//! as their users do, and has several versions of Kubernetes judge them.
//!
//! A judge that lets everything pass would not be noticed. So each run also breaks a rendered
//! manifest in several ways, and fails unless each of them is refused.

mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::setup::{self, Purpose};
use crate::{cargo, ui};
use tools::Tools;

/// The oldest that knows all that is used, some in between, and the newest whose schemas there are.
const VERSIONS: [&str; 4] = ["1.30", "1.33", "1.35", "1.37"];

/// Words of a rendered manifest, what they are replaced by, and what has to be said about it.
const FAULTS: [(&str, &str, &str); 10] = [
    ("hostNetwork: true", "hostNetwrok: true", "hostNetwrok"),
    ("maxSurge: 1", "maxSurge: {}", "maxSurge"),
    ("apiVersion: apps/v1\n", "apiVersion: extensions/v1beta1\n", "there is no extensions/v1beta1"),
    ("maxSurge: 1", "maxSurge: 0", "no takeover"),
    ("- --stay", "- --log=json", "without --stay"),
    ("- SYS_ADMIN", "- SYS_PTRACE", "other rights"),
    ("drainTimeout: 30s", "drainTimeout: 5m", "terminationGracePeriodSeconds"),
    ("- --ready\n", "- --version\n", "readinessProbe"),
    ("timeoutSeconds: 5", "timeoutSeconds: 1", "can say why"),
    ("socket: /run/foreword/admin.sock", "socket: /run/elsewhere.sock", "probes ask at"),
];

/// Checks every folder; all that is wrong is said.
pub fn run() -> Result<()> {
    setup::run(Purpose::Manifests)?;
    let tools = Tools::obtain()?;
    let scratch = TempDir::new().context("cannot make a folder")?;
    let mut failures = 0;
    for folder in folders()? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let rendered = scratch.path().join(format!("{name}.yaml"));
        fs::write(&rendered, render(&tools, &folder)?)?;
        let complaints = judge(&tools, &rendered)?;
        if complaints.is_empty() {
            ui::done(&format!("{name}: valid for Kubernetes {}", VERSIONS.join(", ")));
            continue;
        }
        failures += 1;
        eprintln!("{name}:\n{complaints}");
    }
    if failures > 0 {
        bail!("{failures} of the manifests are wrong");
    }
    require_refusals(&tools, &scratch.path().join("base.yaml"))
}

/// Every folder with a kustomization.
fn folders() -> Result<Vec<PathBuf>> {
    let parent = cargo::root().join("scripts/kubernetes");
    let entries = fs::read_dir(&parent).with_context(|| format!("{}", parent.display()))?;
    let mut folders = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()
        .context("cannot list the manifests")?;
    folders.retain(|folder| folder.join("kustomization.yaml").is_file());
    folders.sort();
    if folders.is_empty() {
        bail!("there are no manifests in {}", parent.display());
    }
    Ok(folders)
}

fn render(tools: &Tools, folder: &Path) -> Result<Vec<u8>> {
    let mut command = tools.kustomize(folder);
    let output = command.output().context("cannot run kubectl")?;
    // Warnings, such as those about deprecated words, are no success either.
    if !output.status.success() || !output.stderr.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}`: {}\n{said}", ui::shell_line(&command), output.status);
    }
    Ok(output.stdout)
}

/// What is wrong with a rendered file, one complaint a line.
fn judge(tools: &Tools, rendered: &Path) -> Result<String> {
    let output = tools.check(rendered, &VERSIONS).output().context("cannot run the judge")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        Some(0) => {
            said.lines().for_each(ui::note);
            Ok(String::new())
        }
        Some(1) if !said.is_empty() => Ok(said),
        _ => bail!("the judge fails: {}", String::from_utf8_lossy(&output.stderr).trim()),
    }
}

/// Breaks a good file in every known way, and has each refused for that very reason.
fn require_refusals(tools: &Tools, good: &Path) -> Result<()> {
    let text = fs::read_to_string(good).context("cannot read the rendered base")?;
    let broken = good.with_extension("broken");
    for (words, others, expected) in FAULTS {
        fs::write(&broken, broken_at(&text, words, others)?)?;
        let complaints = judge(tools, &broken)?;
        if !complaints.contains(expected) {
            bail!("`{others}` instead of `{words}` is not refused; said was: {complaints:?}");
        }
    }
    ui::done(&format!("{} faults made on purpose are all refused", FAULTS.len()));
    Ok(())
}

/// The text with a fault in it. One that changes nothing would prove nothing.
fn broken_at(text: &str, words: &str, others: &str) -> Result<String> {
    if !text.contains(words) {
        bail!("the rendered base has no `{words}` to break");
    }
    Ok(text.replace(words, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_to_change_something() {
        assert_eq!(broken_at("a: 1\nb: 2\n", "a: 1", "a: x").unwrap(), "a: x\nb: 2\n");
        broken_at("a: 1\n", "c: 1", "c: 2").unwrap_err();
    }

    #[test]
    fn every_way_to_install_is_found() {
        let folders = folders().unwrap();
        for name in ["aws-nlb", "bare-metal", "base", "gke", "service-monitor"] {
            assert!(folders.iter().any(|folder| folder.ends_with(name)), "{name}");
        }
    }
}
