//! The flags of `foreword attach`: a configuration's, and a few of its own.

use clap::Args;

use super::LogFormat;
use crate::config::RawConfig;
use crate::config::raw::RawRule;

/// One rule, from flags.
#[derive(Args, Debug)]
pub struct Attach {
    #[command(flatten)]
    rule: RawRule,

    #[command(flatten)]
    config: RawConfig,

    /// Take over from a Foreword that steers these interfaces, if there is one: new connections come
    /// here at once, and it ends when its own have ended, or its drain time is over.
    ///
    /// If this process dies on the way, the other one serves new connections again.
    #[arg(long, help_heading = "Process")]
    pub take_over: bool,

    /// How lines of the log are written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, help_heading = "Process")]
    pub log: LogFormat,
}

/// What the one rule of a command line is called.
const RULE: &str = "attach";

impl Attach {
    /// The file with one rule that the flags amount to.
    pub fn into_config(self) -> RawConfig {
        let rule = RawRule { name: Some(RULE.into()), ..self.rule };
        RawConfig { rules: vec![rule], ..self.config }
    }
}
