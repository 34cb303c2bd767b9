//! The limit of open files (`RLIMIT_NOFILE`).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How many files this process may open: the soft limit and the hard limit.
pub fn open_files() -> nix::Result<(u64, u64)> {
    getrlimit(Resource::RLIMIT_NOFILE)
}

/// Raises the soft limit to the hard limit, and returns that.
pub fn raise_open_files() -> nix::Result<u64> {
    let (_, hard) = open_files()?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}
