//! Every sample, for programs.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Report;
use crate::network::Network;
use crate::plan::Contender;
use crate::stats::Summary;

/// The run as JSON. Times are in seconds unless a unit says otherwise; a gain above 1 is better
/// whatever the metric.
pub fn document(report: &Report<'_>) -> Result<String> {
    let Report { plan, machine, cpus, results, goals } = report;
    let samples: Vec<Value> = results
        .all()
        .map(|(case, metric, values)| {
            let (setup, measure, contender) = case;
            let [direct, haproxy, tuned] =
                Contender::BASES.map(|base| results.gain(case, base, metric));
            json!({
                "setup": setup, "measure": measure, "contender": contender, "metric": metric,
                "unit": metric.unit(), "summary": Summary::of(values), "samples": values,
                "gain_over": { "direct": direct, "haproxy": haproxy, "haproxy-tuned": tuned },
            })
        })
        .collect();
    let configurations: Vec<Value> = results
        .configurations()
        .map(|(setup, contender, text)| {
            json!({ "setup": setup, "contender": contender, "configuration": text })
        })
        .collect();
    let setups: Vec<Value> = plan
        .setups
        .iter()
        .map(|&setup| json!({ "setup": setup, "description": Network::describe(setup) }))
        .collect();
    let document = json!({
        "machine": machine,
        "cpus": { "load": cpus.load, "proxy": cpus.proxy },
        "rounds": plan.rounds,
        "rounds_of_counts": plan.count_rounds,
        "duration": plan.duration.as_secs_f64(),
        "setups": setups,
        "configurations": configurations,
        "goals": goals,
        "results": samples,
        "failures": results.failures(),
    });
    serde_json::to_string_pretty(&document).context("cannot write JSON")
}
