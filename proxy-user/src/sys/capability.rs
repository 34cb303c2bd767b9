//! The capabilities in effect for this process.

use caps::errors::CapsError;
use caps::{CapSet, Capability};

/// What steering and relaying need, each with what fails without it. `CAP_SYS_ADMIN` covers what newer
/// kernels have split off as `CAP_BPF` and `CAP_PERFMON`.
const REQUIRED: [Required; 2] = [
    Required {
        capability: Capability::CAP_NET_ADMIN,
        name: "CAP_NET_ADMIN",
        purpose: "attaching to interfaces and listening transparently",
    },
    Required {
        capability: Capability::CAP_SYS_ADMIN,
        name: "CAP_SYS_ADMIN",
        purpose: "loading eBPF programs and making a network namespace",
    },
];

/// A capability that Foreword can't do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Required {
    capability: Capability,
    /// Its name, as in `capabilities(7)`.
    pub name: &'static str,
    /// What fails without it.
    pub purpose: &'static str,
}

/// The required capabilities that this process lacks.
pub fn missing() -> Result<Vec<Required>, CapsError> {
    let held = caps::read(None, CapSet::Effective)?;
    Ok(REQUIRED.into_iter().filter(|required| !held.contains(&required.capability)).collect())
}

/// Whether this process has `CAP_SYS_RESOURCE`, which is optional: it allows larger pipes, for one.
pub fn has_sys_resource() -> Result<bool, CapsError> {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE)
}
