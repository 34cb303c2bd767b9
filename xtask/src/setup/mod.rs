//! Brings up what building and testing need, and nothing that is there already.
//!
//! Each part first looks, which takes milliseconds, and acts only on what is missing. Nothing here
//! needs root but `apt-get`.

mod debian;
mod fuzzer;
mod linker;
pub mod python;
mod rust;

use std::time::Instant;

use anyhow::Result;

use crate::ui;
use debian::Package;
pub use debian::locate;
use rust::Toolchain;

/// What the machine is to be ready for. Building is part of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Formatting, clippy, and the dependencies.
    Lint,
    /// The demo.
    Demo,
    /// The tests.
    Test,
    /// The benchmark.
    Bench,
    /// Fuzzing.
    Fuzz,
    /// The tests, on other kernels.
    Kernels,
    /// The binary that is shipped.
    Dist,
    /// Checking the manifests, which takes no build of ours.
    Manifests,
    /// Everything.
    All,
}

impl Purpose {
    /// Debian packages that there is no doing without.
    fn required(self) -> Vec<Package> {
        let more: &[&[Package]] = match self {
            Self::Dist => &[],
            Self::Fuzz => &[debian::CXX_COMPILER],
            Self::Lint | Self::Manifests => &[debian::PYTHON],
            Self::Demo => &[debian::LAB, debian::PEERS],
            Self::Test | Self::Bench | Self::All => &[debian::LAB],
            // All of them are packed, so none can be left out.
            Self::Kernels => &[debian::LAB, debian::PEERS, debian::FOR_TESTS, debian::FOR_KERNELS],
        };
        [&[debian::COMPILER], more].concat().concat()
    }

    /// Debian packages without which something is left out, and says so itself.
    fn wanted(self) -> Vec<Package> {
        match self {
            Self::Lint | Self::Demo | Self::Fuzz | Self::Kernels | Self::Dist | Self::Manifests => {
                Vec::new()
            }
            Self::Test => [debian::PEERS, debian::FOR_TESTS].concat(),
            Self::Bench | Self::All => {
                [debian::PEERS, debian::FOR_TESTS, debian::FOR_BENCH].concat()
            }
        }
    }

    /// Whether anything of ours is built for it, beyond these commands.
    fn builds(self) -> bool {
        self != Self::Manifests
    }

    fn components(self) -> &'static [rust::Component] {
        match self {
            Self::Manifests => &[],
            Self::Demo | Self::Test | Self::Bench | Self::Fuzz => &[rust::SOURCE],
            Self::Kernels | Self::Dist => &[rust::SOURCE, rust::STATIC],
            Self::Lint => &[rust::SOURCE, rust::FORMATTER, rust::CLIPPY],
            Self::All => &[rust::SOURCE, rust::FORMATTER, rust::CLIPPY, rust::STATIC],
        }
    }
}

/// Makes the machine ready, and says what it did.
pub fn run(purpose: Purpose) -> Result<()> {
    let started = Instant::now();
    let mut acted = debian::require(&purpose.required())?;
    let mut complete = true;
    match debian::require(&purpose.wanted()) {
        Ok(installed) => acted |= installed,
        Err(error) => {
            complete = false;
            ui::warn(&format!("something will be left out: {error:#}"));
        }
    }
    if purpose.builds() {
        let toolchain = Toolchain::find()?;
        acted |= toolchain.require(purpose.components())?;
        acted |= linker::require(&toolchain)?;
    }
    if purpose == Purpose::Fuzz {
        acted |= fuzzer::require()?;
    }

    let seconds = started.elapsed().as_secs_f32();
    match (acted, complete) {
        (false, true) => ui::done(&format!("set-up: everything is there ({seconds:.1} s)")),
        (true, true) => ui::done(&format!("set-up: finished in {seconds:.0} s")),
        (_, false) => ui::warn("set-up: finished, as far as possible"),
    }
    Ok(())
}
