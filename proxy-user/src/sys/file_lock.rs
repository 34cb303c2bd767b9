//! Locks on whole files that belong to the open file description (`F_OFD_SETLK`). The kernel releases
//! them when that is closed, however the process ends, and says whether somebody has one without our taking it.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, c_int, c_short};

/// Whether a lock can be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// With everybody else who shares it.
    Shared,
    /// With nobody.
    Exclusive,
}

/// Takes the lock, or converts the one that this open file has already; returns whether that was
/// possible. The file must be open for writing, and for a shared lock also for reading.
pub fn try_lock(file: &File, sharing: Sharing) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole(sharing))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether another open file has the lock, shared or not.
pub fn is_locked(file: &File) -> io::Result<bool> {
    let mut lock = whole(Sharing::Exclusive);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(lock.l_type != short(libc::F_UNLCK))
}

fn whole(sharing: Sharing) -> libc::flock {
    let kind = match sharing {
        Sharing::Shared => libc::F_RDLCK,
        Sharing::Exclusive => libc::F_WRLCK,
    };
    libc::flock {
        l_type: short(kind),
        l_whence: short(libc::SEEK_SET),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "these constants are 0, 1 and 2")]
fn short(constant: c_int) -> c_short {
    constant as c_short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_belongs_to_an_open_file_and_goes_with_it() {
        let scratch = tempfile::NamedTempFile::new().unwrap();
        let open = || File::options().read(true).write(true).open(scratch.path()).unwrap();
        let (first, second) = (open(), open());
        assert!(!is_locked(&first).unwrap());
        assert!(try_lock(&first, Sharing::Exclusive).unwrap());
        assert!(!is_locked(&first).unwrap(), "one's own lock does not count");
        assert!(is_locked(&second).unwrap());
        assert!(!try_lock(&second, Sharing::Shared).unwrap());
        drop(first);
        assert!(try_lock(&second, Sharing::Shared).unwrap());
        let third = open();
        assert!(try_lock(&third, Sharing::Shared).unwrap());
        assert!(!try_lock(&third, Sharing::Exclusive).unwrap());
        drop(second);
        assert!(
            try_lock(&third, Sharing::Exclusive).unwrap(),
            "the last one can make it exclusive"
        );
    }
}
