//! Ctrl-C in the middle of the demo or the benchmark: noticed between two steps, so that everything
//! is put away.
//!
//! The programs that run in the lab get the terminal's Ctrl-C as well, so no step goes on for long.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on these signals only leave a note for [`check`].
pub fn watch() -> Result<()> {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&INTERRUPTED)).context("cannot watch for Ctrl-C")?;
    }
    Ok(())
}

/// An error once one of the signals has come.
pub fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted; the lab is removed");
    }
    Ok(())
}
