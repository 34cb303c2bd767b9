//! Whether this node is fit for Foreword, and what to fix where it is not.
//!
//! [`facts`] looks, [`judge`] thinks: it knows no kernel, so that every severity can be had from
//! made-up facts. Neither changes anything. What could not be seen is a finding of its own, never
//! a good one. What is meant to run here is an [`intent`]; without one, the node is judged for
//! anything that Foreword can do.

pub mod facts;
mod guard;
pub mod intent;
mod interface;
mod kernel;
mod leftovers;
mod order;
mod ports;
mod process;
mod rules;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod tunnels;

use std::fmt;

use serde::Serialize;

use self::facts::Facts;
use self::intent::Intent;
use crate::sys::environment::Environment;
use crate::sys::fact::Unknown;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Good to know; Foreword works.
    Note,
    /// Foreword works, but not all of it, or not well.
    Warning,
    /// Foreword does not work.
    Fatal,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fatal => "fatal",
        })
    }
}

/// What to do about what could not be seen, on a node.
const AS_ROOT: &str = "run doctor as root, if that is for want of privileges";

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at: a word that stays the same from release to release.
    pub check: &'static str,
    /// On which interface, if on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// What was seen.
    pub what: String,
    /// What to do about it; there is nothing to do where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, check, interface: None, what: what.into(), fix: None }
    }

    fn bad(
        severity: Severity,
        check: &'static str,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity, fix: Some(fix.into()), ..Self::ok(check, what) }
    }

    fn note(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::bad(Severity::Note, check, what, fix)
    }

    fn warning(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::bad(Severity::Warning, check, what, fix)
    }

    fn fatal(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::bad(Severity::Fatal, check, what, fix)
    }

    fn unknown(check: &'static str, what: &str, why: &Unknown) -> Self {
        Self::note(check, format!("{what} could not be seen: {why}"), AS_ROOT)
    }

    /// What everybody can do who has not seen something depends on where they are.
    fn fit(self, environment: Environment) -> Self {
        let fix = self.fix.map(|fix| match fix.as_str() {
            AS_ROOT => environment.pick([
                AS_ROOT,
                "run doctor as root, and in the unit's own circumstances, if that is for want of \
                 privileges",
                "run doctor in the container of Foreword itself (docker exec, podman exec), if that \
                 is for want of privileges",
                "run doctor in the pod of Foreword itself (kubectl exec POD -- /foreword doctor), if \
                 that is for want of privileges",
            ]).to_owned(),
            _ => fix,
        });
        Self { fix, ..self }
    }
}

/// Findings about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Which.
    pub about: String,
    /// The findings, at least one.
    pub findings: Vec<Finding>,
}

impl Section {
    fn new(about: impl Into<String>, findings: Vec<Finding>) -> Option<Self> {
        (!findings.is_empty()).then(|| Self { about: about.into(), findings })
    }

    fn fit(self, environment: Environment) -> Self {
        let findings = self.findings.into_iter().map(|finding| finding.fit(environment)).collect();
        Self { findings, ..self }
    }

    fn on(interface: &str, findings: Vec<Finding>) -> Option<Self> {
        // Whoever names interfaces on the command line may write anything.
        let interface = interface.escape_debug().to_string();
        let on = |finding| Finding { interface: Some(interface.clone()), ..finding };
        Self::new(format!("interface {interface}"), findings.into_iter().map(on).collect())
    }
}

/// Everything that was found, in the order in which it is best read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of the findings' verdicts.
    pub severity: Severity,
    /// What there is to say about each thing.
    pub sections: Vec<Section>,
}

impl Report {
    /// Everything, whatever it is about.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.sections.iter().flat_map(|section| &section.findings)
    }

    /// Whether Foreword would not work here.
    pub fn is_fatal(&self) -> bool {
        self.severity == Severity::Fatal
    }
}

/// Judges what was seen, for what is meant.
pub fn judge(facts: &Facts, intent: &Intent) -> Report {
    let mut sections = vec![
        Section::new("kernel", kernel::judge(facts, intent)),
        Section::new("this process", process::judge(facts, intent)),
        Section::new("sysctls", settings::judge(facts, intent)),
    ];
    let (survey, environment) = (&facts.survey, facts.environment);
    sections.extend(interface::judge(survey, intent, environment));
    sections.push(Section::new("rules", rules::judge(survey, intent)));
    sections
        .push(Section::new("others on this node", leftovers::judge(survey, intent, environment)));
    let sections = sections.into_iter().flatten().map(|section| section.fit(environment));
    let sections: Vec<_> = sections.collect();
    let verdicts = sections.iter().flat_map(|section| &section.findings).map(|it| it.severity);
    Report { severity: verdicts.max().unwrap_or(Severity::Ok), sections }
}
