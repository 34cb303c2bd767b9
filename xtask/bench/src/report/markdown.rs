//! The document: what was run on what, the goals, and a table for each measure.

use std::fmt::Write as _;

use super::Report;
use crate::cpu::Cpus;
use crate::goals::{Goal, Verdict};
use crate::metric::Metric;
use crate::network::Network;
use crate::plan::{Contender, Measure, Setup};

/// The whole document; the picture is expected beside it.
pub fn document(report: &Report<'_>, picture: &str) -> String {
    let mut text = String::from("# Benchmarks\n\n");
    text += &introduction(report);
    let _ = write!(text, "\n![Foreword and its peers, relative to HAProxy]({picture})\n");
    text += "\n## Goals\n\n";
    text += &goals(&report.goals);
    for &setup in &report.plan.setups {
        let _ = write!(text, "\n## Set-up: {}\n\n{}\n", setup.title(), Network::describe(setup));
        for &measure in &report.plan.measures {
            text += &section(report, setup, measure);
        }
    }
    text += &failures(report);
    text += &configurations(report);
    text
}

fn introduction(report: &Report<'_>) -> String {
    let Report { plan, machine, cpus: Cpus { load, proxy }, .. } = report;
    let versions = machine.versions.join("\n- ");
    format!(
        "Made by `cargo xtask bench`, which writes this document with the numbers of the machine that it \
         runs on.\n\n\
         - {}\n- others kept {:.2} CPUs busy before the run\n- {versions}\n\n\
         Load and server are pinned to CPU {load}, the proxy has CPU {proxy} to itself, with one worker; for \
         the ping-pong on one connection all of them share CPU {load}. Every connection begins with a \
         v2 header, and the server checks the client that the proxy names, and counts the bytes. \
         HAProxy and Foreword write v2, nginx writes v1 since it knows no other; direct, the client \
         writes the header for the server.\n\n\
         Medians of {} rounds (system calls, idle connections and eBPF: {}), {:.1} s each, with the \
         smallest and the largest value in brackets. Contenders take turns within each round. \
         Ratios are always in favour of the row if above 1. A contender that fails a measure even \
         once has no number.\n",
        machine.line(),
        machine.background,
        plan.rounds,
        plan.count_rounds,
        plan.duration.as_secs_f64(),
    )
}

fn goals(goals: &[Goal]) -> String {
    let mut text = String::from("| what | goal | measured | |\n|---|---|---|---|\n");
    for Goal { what, limit, measured, verdict } in goals {
        let measured = measured.map_or("–".to_owned(), Metric::format);
        let verdict = match verdict {
            Verdict::Reached => "reached",
            Verdict::Missed => "**missed**",
            Verdict::NotMeasured => "not measured",
        };
        let _ = writeln!(text, "| {what} | {limit} | {measured} | {verdict} |");
    }
    text
}

/// A table with a row for each contender, a column for each metric, and ratios of the first one.
fn section(report: &Report<'_>, setup: Setup, measure: Measure) -> String {
    let metrics = report.results.metrics(setup, measure);
    let Some(&first) = metrics.first() else { return String::new() };
    let has_number =
        |base: &&Contender| report.results.summary((setup, measure, **base), first).is_some();
    let bases: Vec<Contender> = Contender::BASES.iter().filter(has_number).copied().collect();
    let titles = metrics.iter().map(|metric| format!("{} [{}]", metric.title(), metric.unit()));
    let ratios = bases.iter().map(|base| format!("{} × {}", first.title(), base.title()));
    let mut text = format!("\n### {}\n\n", heading(measure));
    text += &row(std::iter::once(String::new()).chain(titles).chain(ratios));
    text += &row((0..=metrics.len() + bases.len())
        .map(|column| if column == 0 { "---".to_owned() } else { "---:".to_owned() }));
    let contenders = report.plan.contenders_in(setup).into_iter();
    for contender in contenders.filter(|it| measure.applies_to(setup, *it)) {
        let case = (setup, measure, contender);
        let values = metrics.iter().map(|&metric| value(report, case, metric));
        let ratios = bases.iter().map(|&base| {
            let gain = report.results.gain(case, base, first);
            gain.map_or("–".to_owned(), |gain| format!("{gain:.2}"))
        });
        text += &row(std::iter::once(contender.title().to_owned()).chain(values).chain(ratios));
    }
    text
}

fn heading(measure: Measure) -> String {
    let title = measure.title();
    let mut letters = title.chars();
    match letters.next() {
        Some(first) if !title.starts_with("eBPF") => first.to_uppercase().chain(letters).collect(),
        _ => title.to_owned(),
    }
}

/// A median with its range, or that there is none.
fn value(report: &Report<'_>, case: (Setup, Measure, Contender), metric: Metric) -> String {
    if report.results.has_failed(case) {
        return "**failed**".to_owned();
    }
    report.results.summary(case, metric).map_or("–".to_owned(), |summary| {
        let [median, min, max] = [summary.median, summary.min, summary.max].map(Metric::format);
        format!("{median} ({min}–{max})")
    })
}

fn row(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

fn failures(report: &Report<'_>) -> String {
    let failures = report.results.failures();
    if failures.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n## Failures\n\n");
    for failure in failures {
        let when = failure.at.map_or("at its start".to_owned(), |(measure, round)| {
            format!("{}, round {round}", measure.title())
        });
        let (setup, contender) = (failure.setup.title(), failure.contender.title());
        let error = failure.error.lines().collect::<Vec<_>>().join("; ");
        let _ = writeln!(text, "- {setup}, {contender}, {when}: {error}");
    }
    text
}

fn configurations(report: &Report<'_>) -> String {
    let mut text = String::from("\n## Configurations\n");
    for (setup, contender, configuration) in report.results.configurations() {
        if !configuration.is_empty() {
            let (setup, contender) = (setup.title(), contender.title());
            let _ = write!(text, "\n{contender}, {setup}:\n\n```text\n{configuration}```\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::plan::Plan;
    use crate::results::Results;

    fn rendered(results: &Results) -> String {
        let contenders = [Contender::Direct, Contender::Haproxy, Contender::Foreword];
        let plan = Plan::new(true, &[Setup::Plain], &contenders, &[Measure::PingPong256]);
        let machine = Machine {
            cpu: "A CPU".to_owned(),
            cpus: 2,
            memory: 4,
            kernel: "Linux 6.12".to_owned(),
            system: "Debian".to_owned(),
            background: 0.1,
            versions: vec!["foreword 1.2.3".to_owned()],
        };
        let cpus = Cpus { load: 0, proxy: 1 };
        document(&Report::new(&plan, &machine, cpus, results), "results.svg")
    }

    #[test]
    fn a_table_has_medians_ranges_and_ratios() {
        let mut results = Results::default();
        let rows =
            [(Contender::Direct, 80.0), (Contender::Haproxy, 50.0), (Contender::Foreword, 40.0)];
        for (contender, rate) in rows {
            for factor in [1.0, 1.5, 2.0] {
                let case = (Setup::Plain, Measure::PingPong256, contender);
                results.add(case, 1, Ok(vec![(Metric::Rate, rate * factor)]));
            }
        }
        let text = rendered(&results);
        assert!(text.contains("| Foreword | 60.0 (40.0–80.0) | 0.50 | 0.80 |"), "{text}");
        assert!(text.contains("A CPU, 2 CPUs, 4 GiB, Debian, Linux 6.12"), "{text}");
        assert!(text.contains("all of them share CPU 0"), "{text}");
        assert!(!text.contains("## Failures"), "{text}");
    }

    #[test]
    fn a_failure_is_shown_in_the_table_and_explained() {
        let mut results = Results::default();
        let case = (Setup::Plain, Measure::PingPong256, Contender::Foreword);
        results.add(case, 1, Ok(vec![(Metric::Rate, 7.0)]));
        results.add(case, 2, Err(anyhow::anyhow!("no message\ncame back")));
        let text = rendered(&results);
        assert!(text.contains("| Foreword | **failed** |"), "{text}");
        assert!(
            text.contains(
                "plain, Foreword, 64 B ping-pong, 256 connections, round 2: no message; came back"
            ),
            "{text}"
        );
    }
}
