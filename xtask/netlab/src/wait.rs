//! Waiting for something to become true, with an end.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long to sleep between two looks.
const STEP: Duration = Duration::from_millis(10);

/// Asks `is_so` until it says yes. After `timeout` the error names `what` was waited for.
pub fn wait_until(timeout: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + timeout;
    while !is_so() {
        if Instant::now() > deadline {
            bail!("waited {timeout:?} in vain for {what}");
        }
        sleep(STEP);
    }
    Ok(())
}
