//! Network namespaces without a name: made, entered for a moment, gone with their last user.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::panic;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// The calling thread's namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// The number by which the kernel tells the calling thread's namespace from others.
pub fn own_inode() -> io::Result<u64> {
    Ok(fs::metadata(OWN)?.ino())
}

/// A network namespace, kept alive by the file that stands for it.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// Makes an empty one. It has no name anywhere: neither `ip netns` nor a path shows it.
    pub fn create() -> io::Result<Self> {
        let file = on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open(OWN)
        })?;
        Ok(Self { file })
    }

    /// The same namespace, for somebody else, who keeps it alive as well.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()? })
    }

    /// Runs `work` on a thread of its own that has entered the namespace. Sockets made there stay
    /// there, whoever uses them afterwards.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_own_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET)?;
            work()
        })
    }
}

/// A second namespace for a thread that works in the first: entered for a moment at a time.
#[derive(Debug)]
pub struct Elsewhere {
    home: File,
    there: File,
}

impl Elsewhere {
    /// From the calling thread's namespace to another one.
    pub fn of(there: &Namespace) -> io::Result<Self> {
        Ok(Self { home: File::open(OWN)?, there: there.file.try_clone()? })
    }

    /// Runs `work` in the other namespace, on the calling thread, which is back afterwards.
    pub fn visit<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        setns(&self.there, CloneFlags::CLONE_NEWNET)?;
        let _return = ReturnHome(&self.home);
        work()
    }
}

/// Brings the thread home, also when the work panics.
struct ReturnHome<'a>(&'a File);

impl Drop for ReturnHome<'_> {
    fn drop(&mut self) {
        if setns(self.0, CloneFlags::CLONE_NEWNET).is_err() {
            // Whatever this thread did next would happen in the wrong place.
            std::process::abort();
        }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Runs `work` on a thread that ends with it, so that no other code meets its namespace.
pub fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| match thread::Builder::new().spawn_scoped(scope, work)?.join() {
        Ok(result) => result,
        Err(payload) => panic::resume_unwind(payload),
    })
}
