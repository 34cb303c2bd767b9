//! Why steering is refused, where the settings or the user can do something about it.

use std::error::Error;

/// Where the guard runs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardUsed {
    /// In the driver's XDP.
    Native,
    /// In generic XDP.
    Generic,
    /// In `foreword_steer`.
    Tc,
}

impl GuardUsed {
    /// In words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Native => "native XDP",
            Self::Generic => "generic XDP",
            Self::Tc => "in TC",
        }
    }
}

/// A refusal. Its text names no flag and no key of a file: whoever shows it adds those.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The settings ask for tcx.
    #[error("tcx needs Linux 6.6 or newer")]
    NoTcx,
    /// The settings ask for the guard in XDP.
    #[error("no {} on {interface}", .guard.describe())]
    NoXdp {
        /// The interface.
        interface: String,
        /// Where the guard was to run.
        guard: GuardUsed,
        /// What the kernel says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another instance has the interface's lock.
    #[error("{interface} is already steered by another Foreword{}; stop that one first", pid_suffix(*.pid))]
    AlreadySteered {
        /// The interface.
        interface: String,
        /// The process that has it; 0 if it is in another pid namespace.
        pid: i32,
    },
}

/// A pid in brackets, unless it is 0.
pub fn pid_suffix(pid: i32) -> String {
    if pid == 0 { String::new() } else { format!(" (pid {pid})") }
}
