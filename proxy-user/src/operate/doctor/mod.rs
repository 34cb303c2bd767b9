//! Whether this node is fit for Foreword, and what to mend where it is not.
//!
//! [`facts`] looks, [`judge`] thinks: it knows no kernel, so that every verdict can be had from
//! made-up facts. Neither changes anything. What could not be seen is a finding of its own, never
//! a good one. What one configuration in particular asks of the node is not judged: that would be
//! a second argument of [`judge`].

pub mod facts;
mod interface;
mod kernel;
mod order;
mod process;
mod settings;
#[cfg(test)]
mod tests;
mod traces;

use std::fmt;

use serde::Serialize;

use self::facts::Facts;
use crate::sys::unseen::Unseen;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Good to know; Foreword works.
    Note,
    /// Foreword works, but not all of it, or not well.
    Warning,
    /// Foreword does not work.
    Fatal,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fatal => "fatal",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was looked at: a word that stays the same from release to release.
    pub check: &'static str,
    /// On which interface, if on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// What was seen.
    pub what: String,
    /// What to do about it; there is nothing to do where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, check, interface: None, what: what.into(), mend: None }
    }

    fn bad(
        verdict: Verdict,
        check: &'static str,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { verdict, mend: Some(mend.into()), ..Self::ok(check, what) }
    }

    fn note(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::bad(Verdict::Note, check, what, mend)
    }

    fn warning(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::bad(Verdict::Warning, check, what, mend)
    }

    fn fatal(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::bad(Verdict::Fatal, check, what, mend)
    }

    fn unseen(check: &'static str, what: &str, why: &Unseen) -> Self {
        Self::note(
            check,
            format!("{what} could not be seen: {why}"),
            "run doctor as root, if that is for want of privileges",
        )
    }

    fn on(self, interface: &str) -> Self {
        // Whoever names interfaces on the command line may write anything.
        Self { interface: Some(interface.escape_debug().to_string()), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {:<14} ", self.verdict, self.check)?;
        if let Some(interface) = &self.interface {
            write!(f, "{interface}: ")?;
        }
        f.write_str(&self.what)?;
        match &self.mend {
            Some(mend) => write!(f, "; to do: {mend}"),
            None => Ok(()),
        }
    }
}

/// Everything that was found, in the order in which it is best read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of the findings' verdicts.
    pub verdict: Verdict,
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether Foreword would not work here.
    pub fn is_fatal(&self) -> bool {
        self.verdict == Verdict::Fatal
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

/// Judges what was seen.
pub fn judge(facts: &Facts) -> Report {
    let findings: Vec<_> = kernel::judge(facts)
        .into_iter()
        .chain(process::judge(facts))
        .chain(settings::judge(facts))
        .chain(interface::judge(&facts.survey))
        .chain(traces::judge(&facts.survey))
        .collect();
    let verdict = findings.iter().map(|finding| finding.verdict).max();
    Report { verdict: verdict.unwrap_or(Verdict::Ok), findings }
}
