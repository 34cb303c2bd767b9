//! The mark on our own upstream connections while `lo` is protected, where steering would meet them
//! and take them in again.
//!
//! Anybody with `CAP_NET_RAW` can mark packets, and so must not know the mark: it is random, and
//! only root can read it. Instances that are there at once share one, since a successor meets the
//! connections of its predecessor, too.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::lock::directory;
use crate::sys::netns;

/// A mark, for as long as it is used.
#[derive(Debug)]
pub struct Fwmark {
    value: u32,
    /// Locked as long as an instance uses what is written there.
    _file: Flock<File>,
}

impl Fwmark {
    /// The mark of the instances that are there in this network namespace, or a new one.
    pub fn claim() -> Result<Self> {
        let path = directory::directory()?.join(format!("mark-{}", netns::own_inode()?));
        Self::claim_in(&|| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            options.open(&path).with_context(|| format!("cannot open {}", path.display()))
        })
    }

    fn claim_in(open: &impl Fn() -> Result<File>) -> Result<Self> {
        let mut shared = match Flock::lock(open()?, FlockArg::LockExclusiveNonblock) {
            Ok(mut alone) => {
                renew(&mut alone)?;
                drop(alone);
                lock_shared(open()?)?
            }
            Err((file, Errno::EWOULDBLOCK)) => lock_shared(file)?,
            Err((_, errno)) => return Err(errno).context("cannot lock the mark"),
        };
        // Whoever was alone between the two locks has written another one.
        shared.rewind()?;
        let mut octets = [0; 4];
        shared.read_exact(&mut octets).context("cannot read the mark")?;
        Ok(Self { value: u32::from_ne_bytes(octets), _file: shared })
    }

    /// As in `SO_MARK`; never 0.
    pub fn value(&self) -> u32 {
        self.value
    }
}

/// Writes another mark, unpredictable and not 0.
fn renew(file: &mut File) -> Result<()> {
    let mut octets = [0; 4];
    while octets == [0; 4] {
        let mut random = File::open("/dev/urandom").context("cannot open /dev/urandom")?;
        random.read_exact(&mut octets).context("cannot read /dev/urandom")?;
    }
    file.rewind()?;
    file.write_all(&octets).context("cannot write the mark")
}

fn lock_shared(file: File) -> Result<Flock<File>> {
    Flock::lock(file, FlockArg::LockShared)
        .map_err(|(_, errno)| errno)
        .context("cannot lock the mark")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_there_at_once_share_one_and_the_next_has_another() {
        let scratch = tempfile::NamedTempFile::new().unwrap();
        let open = || {
            let file = OpenOptions::new().read(true).write(true).open(scratch.path());
            file.context("a file of ours")
        };
        let first = Fwmark::claim_in(&open).unwrap();
        let second = Fwmark::claim_in(&open).unwrap();
        assert_ne!(first.value(), 0);
        assert_eq!(first.value(), second.value());
        let before = first.value();
        drop(first);
        let third = Fwmark::claim_in(&open).unwrap();
        assert_eq!(third.value(), before, "the second is still there");
        drop((second, third));
        // Of two random numbers; once in four thousand million times they are the same.
        assert_ne!(Fwmark::claim_in(&open).unwrap().value(), before);
    }
}
