//! What the tests on one kernel say, read line by line as it comes over the serial line.

use std::time::Instant;

use anyhow::{Result, bail};

use super::Series;

/// How many test binaries run, one after the other.
const HARNESSES: usize = 2;

/// One test that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    name: String,
    result: String,
}

/// All that has been said so far.
#[derive(Debug)]
pub struct Account {
    series: Series,
    checks: Vec<Check>,
    /// The last line of each harness, which says that it came to its end.
    summaries: Vec<String>,
    transcript: Vec<String>,
    last: Instant,
}

impl Account {
    /// Nothing said yet.
    pub fn new(series: Series) -> Self {
        Self {
            series,
            checks: Vec::new(),
            summaries: Vec::new(),
            transcript: Vec::new(),
            last: Instant::now(),
        }
    }

    /// Takes the next line in. A test's end becomes a line of the table on stdout.
    pub fn read(&mut self, line: &str) {
        self.transcript.push(line.to_owned());
        if line.starts_with("running ") {
            self.last = Instant::now();
        } else if line.starts_with("test result: ") {
            self.summaries.push(line.to_owned());
        } else if let Some(check) = Check::parse(line) {
            let seconds = self.last.elapsed().as_secs_f32();
            self.last = Instant::now();
            let Check { name, result } = &check;
            println!("{:<5} {result:<7} {seconds:>5.1} s  {name}", self.series.number());
            self.checks.push(check);
        }
    }

    /// How many tests passed.
    pub fn passed(&self) -> usize {
        self.checks.iter().filter(|check| check.has_passed()).count()
    }

    /// An error unless the harness came to its end, all passed, and each of `picks` picked some.
    pub fn verdict(&self, picks: &[String]) -> Result<()> {
        let failed: Vec<_> =
            self.checks.iter().filter(|it| !it.has_passed()).map(|it| &*it.name).collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        if self.summaries.len() < HARNESSES {
            bail!("the machine ended before the tests did");
        }
        if let Some(summary) = self.summaries.iter().find(|it| !it.starts_with("test result: ok."))
        {
            bail!("{summary}");
        }
        let picks_none = |pick: &&String| !self.checks.iter().any(|it| it.name.contains(*pick));
        if let Some(pick) = picks.iter().find(picks_none) {
            bail!("no test's name contains `{pick}`");
        }
        Ok(())
    }

    /// All lines.
    pub fn transcript(&self) -> String {
        self.transcript.join("\n")
    }
}

impl Check {
    /// Reads `test NAME ... RESULT`.
    fn parse(line: &str) -> Option<Self> {
        let (name, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
        Some(Self { name: name.to_owned(), result: result.to_owned() })
    }

    fn has_passed(&self) -> bool {
        self.result == "ok"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The account of these lines, and the verdict on it where `picks` were asked for.
    fn verdict(lines: &[&str], picks: &[&str]) -> Result<()> {
        let mut account = Account::new(Series::Linux6_1);
        for line in lines {
            account.read(line);
        }
        account.verdict(&picks.iter().map(|&pick| pick.to_owned()).collect::<Vec<_>>())
    }

    const GOOD: [&str; 4] = [
        "running 1 test",
        "test vlan::served::v4 ... ok",
        "test result: ok. 1 passed; 0 failed",
        "test result: ok. 0 passed; 0 failed",
    ];

    #[test]
    fn passes_what_passed() {
        verdict(&GOOD, &["vlan::", "served"]).unwrap();
    }

    #[test]
    fn fails_whatever_else_happened() {
        let error = verdict(&GOOD, &["vlan::", "renamed"]).unwrap_err();
        assert!(error.to_string().contains("`renamed`"), "{error}");
        assert!(verdict(&GOOD[..2], &["vlan::"]).is_err(), "no harness ended");
        assert!(verdict(&GOOD[..3], &["vlan::"]).is_err(), "one harness did not end");
        assert!(verdict(&[], &[]).is_err(), "nothing was said");
        for result in ["FAILED", "ignored, needs VLAN devices"] {
            let bad = format!("test vlan::served::v6 ... {result}");
            let error =
                verdict(&[GOOD[0], GOOD[1], &bad, GOOD[2], GOOD[3]], &["vlan::"]).unwrap_err();
            assert!(error.to_string().contains("vlan::served::v6"), "{error}");
        }
    }
}
