//! The run: set-up by set-up, round by round, measure by measure, contender by contender.

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::cpu::Cpus;
use super::measure;
use super::plan::{Plan, Setup};
use super::progress::Progress;
use super::proxy::Binaries;
use super::results::Results;
use super::stage::{Environment, Stage};
use netlab::{interrupt, ui};

/// Takes all samples of a plan. Contenders that fail are part of the results; an error is only
/// what ends the whole run.
pub fn run(plan: &Plan, cpus: Cpus, binaries: Binaries) -> Result<Results> {
    let folder = TempDir::with_prefix("foreword-bench-").context("cannot make a folder")?;
    let environment = Environment { cpus, binaries, folder: folder.path().to_owned() };
    let mut results = Results::default();
    let mut progress = Progress::new(plan.samples());
    for &setup in &plan.setups {
        run_setup(setup, plan, &environment, &mut results, &mut progress)?;
    }
    Ok(results)
}

fn run_setup(
    setup: Setup,
    plan: &Plan,
    environment: &Environment,
    results: &mut Results,
    progress: &mut Progress,
) -> Result<()> {
    let mut stages = raise(setup, plan, environment, results)?;
    for round in 0..plan.rounds {
        for (measure, contender) in plan.round(setup, round) {
            interrupt::check()?;
            let (who, work) = (contender.title(), measure.title());
            progress.begin(&format!("{who}, {}: {work}", setup.title()));
            if let Some(stage) = stages.iter_mut().find(|stage| stage.contender() == contender) {
                let outcome = measure::take(measure, stage, plan.duration);
                if outcome.is_err() {
                    // What was broken by one measure is not to spoil the next one.
                    let _ = stage.restart();
                }
                results.add((setup, measure, contender), round + 1, outcome);
            }
            progress.step();
        }
    }
    Ok(())
}

/// Starts all contenders; one that does not start has failed every measure.
fn raise(
    setup: Setup,
    plan: &Plan,
    environment: &Environment,
    results: &mut Results,
) -> Result<Vec<Stage>> {
    let mut stages = Vec::new();
    for contender in plan.contenders_in(setup) {
        interrupt::check()?;
        match Stage::new(setup, contender, environment) {
            Ok(stage) => {
                results.configure(setup, contender, stage.configuration());
                stages.push(stage);
            }
            Err(error) => {
                let who = contender.title();
                ui::warn(&format!("{who} does not take part in {}: {error:#}", setup.title()));
                results.absent(setup, contender, &error);
            }
        }
    }
    Ok(stages)
}
