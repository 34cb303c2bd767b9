//! Python environments below the target folder, for tools that the Python Package Index has ready
//! made. Packages are pinned by version and content, and nothing of the machine's is changed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::locate;
use crate::{cargo, ui};

/// A folder with an environment in it, and other files that the tools need.
#[derive(Debug)]
pub struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// The one that is there, if it is of these requirements; else a new one. `finish` does what is
    /// left to do after the packages are installed.
    pub fn obtain(
        name: &str,
        requirements: &str,
        finish: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<Self> {
        let environment = Self { folder: cargo::target_dir()?.join(name) };
        let folder = &environment.folder;
        let stamp = folder.join("requirements.txt");
        if fs::read_to_string(&stamp).is_ok_and(|text| text == requirements) {
            return Ok(environment);
        }
        if folder.exists() {
            fs::remove_dir_all(folder).context("cannot remove the old tools")?;
        }
        fs::create_dir_all(folder).context("cannot make a folder for the tools")?;
        environment.install(name, requirements)?;
        finish(&environment)?;
        // Written last, so that an interrupted set-up begins anew.
        fs::write(&stamp, requirements).context("cannot write the list of tools")?;
        Ok(environment)
    }

    fn install(&self, name: &str, requirements: &str) -> Result<()> {
        let mut venv = Command::new(locate("python3")?);
        venv.args(["-m", "venv"]).arg(self.folder.join("venv"));
        ui::run_long("making a Python environment", &mut venv)?;
        let list = self.folder.join("wanted.txt");
        fs::write(&list, requirements)?;
        let mut pip = Command::new(self.program("pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--only-binary=:all:", "--require-hashes", "--requirement"]).arg(&list);
        ui::run_long(&format!("installing the tools for {name} from PyPI"), &mut pip)
    }

    /// Where a file of the tools' own is kept.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A program that one of the packages has brought.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("venv/bin").join(name)
    }

    /// A program in Python, given as text.
    pub fn python(&self, text: &str) -> Command {
        let mut command = Command::new(self.program("python"));
        command.args(["-c", text]);
        command
    }
}
