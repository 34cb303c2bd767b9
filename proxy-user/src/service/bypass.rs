//! Says that somebody was answered past us, and what to do if that was right.

use std::time::Duration;

use anyhow::Result;
use proxy_common::Reason;
use tokio::time::Instant;

use super::Service;
use crate::config::field;

/// How often it is said at most.
const PAUSE: Duration = Duration::from_secs(60);

/// What is known of answers that were dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bypasses {
    /// How many there were.
    seen: u64,
    /// How many there were when it was last said.
    said: u64,
    last: Option<Instant>,
}

impl Service {
    /// Looks whether answers were dropped since the last look, and says so.
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
        let off = self.written().write(field::ANSWERS, "off");
        tracing::warn!(
            reason = Reason::UnsteeredAnswer.name(),
            packets = seen - said,
            "{bypass}, past Foreword, and the answer was dropped; if that client is to be served, \
             name the interface that it comes in by among the protected ones, or write {off}"
        );
        self.bypasses = Bypasses { seen, said: seen, last: Some(Instant::now()) };
        Ok(())
    }
}
