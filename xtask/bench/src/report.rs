//! What is written when a run is over: a document, a picture, and every sample for programs.

mod json;
mod markdown;
mod picture;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cpu::Cpus;
use super::goals::{self, Goal};
use super::machine::Machine;
use super::plan::Plan;
use super::results::Results;

/// Everything there is to report.
pub struct Report<'a> {
    /// What was run.
    pub plan: &'a Plan,
    /// On what.
    pub machine: &'a Machine,
    /// Who ran where.
    pub cpus: Cpus,
    /// What came out.
    pub results: &'a Results,
    goals: Vec<Goal>,
}

impl<'a> Report<'a> {
    /// Judges the goals.
    pub fn new(plan: &'a Plan, machine: &'a Machine, cpus: Cpus, results: &'a Results) -> Self {
        Self { plan, machine, cpus, results, goals: goals::judge(results) }
    }

    /// The document, with the picture under this name.
    pub fn markdown(&self, picture: &str) -> String {
        markdown::document(self, picture)
    }

    /// Writes all three.
    pub fn write(&self, json: &Path, picture: &Path, markdown: &Path) -> Result<()> {
        let name = picture.file_name().unwrap_or_default().to_string_lossy();
        write(json, &json::document(self)?)?;
        write(picture, &picture::draw(self.results, &self.plan.contenders))?;
        write(markdown, &self.markdown(&name))
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
