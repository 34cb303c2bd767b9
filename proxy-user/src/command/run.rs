//! `foreword run`: rules from a file, in the foreground, until a signal or a successor.

use anyhow::Context as _;

use super::Failure;
use super::cli::Run;
use super::service::{self, Retirement, Words};
use crate::config::Settings;
use crate::operate::config_file::ConfigFile;
use crate::operate::logs;
use crate::steer::Steering;
use crate::sys::slots::Slots;

/// Runs until it is ended.
pub fn run(arguments: &Run) -> Result<(), Failure> {
    let (file, settings) = ConfigFile::open(&arguments.config)?;
    let settings = Settings { take_over: true, ..settings };
    // Before anything else opens a descriptor.
    let slots = Slots::reserve(Steering::slots(&settings)).context("cannot open /dev/null")?;
    logs::start(arguments.log.into()).context("cannot start to log")?;
    let retirement = if arguments.stay { Retirement::Wait } else { Retirement::Exit };
    service::run(settings, Words::File(file), slots, retirement)
}
