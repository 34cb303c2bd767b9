//! A bar that shows how far the run has come: on a terminal only; elsewhere a line now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use netlab::ui;

/// How often a run without a terminal says that it goes on.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// How far a run has come.
pub struct Progress {
    bar: Option<ProgressBar>,
    done: usize,
    total: usize,
    said: Instant,
}

impl Progress {
    /// Nothing of `total` steps is done.
    pub fn new(total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total.try_into().unwrap_or(u64::MAX));
            let template =
                "{bar:30.cyan} {pos}/{len} {elapsed} of about {duration} {wide_msg:.dim}";
            let style = ProgressStyle::with_template(template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, done: 0, total, said: Instant::now() }
    }

    /// Says what comes next.
    pub fn begin(&mut self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        } else if self.done == 0 || self.said.elapsed() >= HEARTBEAT {
            self.said = Instant::now();
            ui::note(&format!("{} of {}: {what}", self.done + 1, self.total));
        }
    }

    /// One step more is done.
    pub fn step(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
