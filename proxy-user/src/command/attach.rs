//! `foreword attach`: one rule from flags, in the foreground, until a signal.

use anyhow::Context as _;

use super::Failure;
use super::cli::Attach;
use crate::config::{Settings, Syntax, validate};
use crate::logging;
use crate::service::{self, AfterTakeover, ConfigSource};
use crate::steer::Steering;
use crate::sys::low_fds::LowFds;

/// Runs until a signal ends it.
pub fn run(arguments: Attach) -> Result<(), Failure> {
    let (take_over, log) = (arguments.take_over, arguments.log);
    let config = arguments.into_config();
    let settings = Settings { take_over, ..validate(&config, Syntax::Flags)? };
    // Before anything else opens a descriptor.
    let low_fds = LowFds::reserve(Steering::low_fds(&settings)).context("cannot open /dev/null")?;
    logging::start(log.into()).context("cannot start to log")?;
    Ok(service::run(settings, ConfigSource::Flags(config), low_fds, AfterTakeover::Exit)?)
}
