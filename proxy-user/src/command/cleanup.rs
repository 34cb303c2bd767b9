//! `foreword cleanup`.

use std::io::{self, Write as _};
use std::iter;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::config::raw::defaults;
use crate::logging;
use crate::operate::admin::socket;
use crate::service::require_privileges;
use crate::steer::sweep;

/// Removes what dead instances left, and says what that was.
pub fn run() -> Result<()> {
    logging::start(logging::Format::Text).context("cannot start to log")?;
    require_privileges()?;
    let swept = sweep::everything()?;
    let sockets = socket::sweep(Path::new(defaults::ADMIN_SOCKET));
    let sockets = sockets.iter().map(|socket| format!("removed {}\n", socket.display()));
    let mut report: String = iter::once(swept.to_string()).chain(sockets).collect();
    if report.is_empty() {
        report.push_str("nothing to clean up\n");
    }
    io::stdout().write_all(report.as_bytes()).context("cannot write to standard output")
}
