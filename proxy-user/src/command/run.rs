//! `foreword run`: rules from a file, in the foreground, until a signal or a successor.

use anyhow::Context as _;

use super::Failure;
use super::cli::Run;
use crate::config::Settings;
use crate::logging;
use crate::service::config_file::ConfigFile;
use crate::service::{self, AfterTakeover, ConfigSource};
use crate::steer::Steering;
use crate::sys::low_fds::LowFds;

/// Runs until it is ended.
pub fn run(arguments: &Run) -> Result<(), Failure> {
    let (file, settings) = ConfigFile::open(&arguments.config)?;
    let settings = Settings { take_over: true, ..settings };
    // Before anything else opens a descriptor.
    let low_fds = LowFds::reserve(Steering::low_fds(&settings)).context("cannot open /dev/null")?;
    logging::start(arguments.log.into()).context("cannot start to log")?;
    let after_takeover = if arguments.stay { AfterTakeover::Wait } else { AfterTakeover::Exit };
    Ok(service::run(settings, ConfigSource::File(file), low_fds, after_takeover)?)
}
