//! `foreword cleanup`.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};

use super::service::require_privileges;
use crate::operate::logs;
use crate::steer::sweep;

/// Removes what dead instances left, and says what that was.
pub fn run() -> Result<()> {
    logs::start();
    require_privileges()?;
    let swept = sweep::everything()?;
    let report =
        if swept.is_empty() { "nothing to clean up\n".to_owned() } else { swept.to_string() };
    io::stdout().write_all(report.as_bytes()).context("cannot write to standard output")
}
