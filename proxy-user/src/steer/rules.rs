//! The rules, as the programs know them: by port and destination, with the ranges that are trusted.
//!
//! What the maps are to say is made from the settings alone ([`tables`]); what differs from what
//! they say is written in an order in which no packet sees half of a rule, and taken back if a write
//! fails ([`writer`]). The maps are the kernel's ([`kernel`]) or, in tests, [`memory`].

mod kernel;
#[cfg(test)]
mod memory;
mod tables;
mod writer;

use anyhow::{Context as _, Result};

pub use self::kernel::KernelMaps;
pub use self::writer::Writer;
use super::object::Object;
use crate::config::Settings;

impl Object {
    /// Tells the programs what the settings say, instead of what they were told before. Ports that
    /// have no rule any more are kept for the connections that are there. An error leaves the maps
    /// as they were.
    pub fn set_rules(&mut self, settings: &Settings) -> Result<()> {
        let (rules, mut maps) = self.rules();
        rules.apply(&mut maps, settings).context("the eBPF maps do not take the rules")
    }

    /// Removes the ranges that no rule has any more, once no packet can be about to ask for them.
    pub fn remove_stale_ranges(&mut self) -> Result<()> {
        let (rules, mut maps) = self.rules();
        rules.tidy(&mut maps)
    }

    /// From now on new connections are left alone. First packets that are on their way inside are
    /// still answered.
    pub fn retire_all(&mut self) -> Result<()> {
        let (rules, mut maps) = self.rules();
        rules.retire_all(&mut maps).context("the eBPF maps do not let the rules go")
    }
}
