//! Logs that a server answered a client past us, and what to do if that was intended.

use std::time::Duration;

use anyhow::Result;
use proxy_common::Reason;
use tokio::time::Instant;

use super::Service;
use super::wording::bypassed;
use crate::config::field::field;

/// The shortest time between two log lines.
const PAUSE: Duration = Duration::from_secs(60);

/// The answers that were dropped, and those already logged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bypasses {
    /// How many there were.
    seen: u64,
    /// How many there were at the last log line.
    said: u64,
    last: Option<Instant>,
}

impl Service {
    /// Logs the answers that were dropped since the last call.
    pub fn watch_bypasses(&mut self) {
        if let Err(error) = self.say_bypasses() {
            tracing::warn!(error = %format!("{error:#}"), "cannot look at dropped answers");
        }
    }

    fn say_bypasses(&mut self) -> Result<()> {
        self.bypasses.seen = self.steering.drops()?[Reason::UnsteeredAnswer as usize];
        let Bypasses { seen, said, last } = self.bypasses;
        if seen == said || last.is_some_and(|last| last.elapsed() < PAUSE) {
            return Ok(());
        }
        let Some(bypass) = self.steering.bypass()? else { return Ok(()) };
        let off = self.written().write(field!(rule.guard.answers), "off");
        tracing::warn!(
            reason = Reason::UnsteeredAnswer.name(),
            packets = seen - said,
            "{}, past Foreword, and the answer was dropped; if that client is to be served, \
             name the interface that it comes in by among the protected ones, or write {off}",
            bypassed(&bypass)
        );
        self.bypasses = Bypasses { seen, said: seen, last: Some(Instant::now()) };
        Ok(())
    }
}
