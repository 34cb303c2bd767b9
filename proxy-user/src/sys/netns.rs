//! Network namespaces without a name, which end with their last user.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::panic;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, libc, sockopt_impl};

sockopt_impl!(
    /// The cookie of the network namespace that a socket belongs to.
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// The calling thread's namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// The inode number that identifies the calling thread's namespace.
pub fn own_inode() -> io::Result<u64> {
    Ok(fs::metadata(OWN)?.ino())
}

/// The cookie that identifies the calling thread's namespace. Unlike an inode number, it is never given
/// to another one. Linux 5.14 and newer have it.
pub fn own_cookie() -> io::Result<u64> {
    let socket = UnixDatagram::unbound()?;
    Ok(getsockopt(&socket, NetnsCookie)?)
}

/// The text of a file of the calling thread's namespace in `/proc/net`; empty if there is none. (What
/// `procfs` reads there is the main thread's namespace.)
pub fn proc_net(name: &str) -> io::Result<String> {
    match fs::read_to_string(Path::new("/proc/thread-self/net").join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

/// A network namespace, kept alive by an open file.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// Makes an empty one. It has no name: neither `ip netns` nor a path shows it.
    pub fn create() -> io::Result<Self> {
        let file = on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open(OWN)
        })?;
        Ok(Self { file })
    }

    /// Another handle to the namespace, which keeps it alive, too.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()? })
    }

    /// Runs `work` in the namespace, on a thread of its own. Sockets made there belong to the
    /// namespace, wherever they are used afterwards.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_own_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET)?;
            work()
        })
    }
}

/// Switches a thread between its own namespace and another one.
#[derive(Debug)]
pub struct NamespaceSwitch {
    own: File,
    other: File,
}

impl NamespaceSwitch {
    /// From the calling thread's namespace to `other`.
    pub fn to(other: &Namespace) -> io::Result<Self> {
        Ok(Self { own: File::open(OWN)?, other: other.file.try_clone()? })
    }

    /// Runs `work` in the other namespace, on the calling thread, and switches back.
    pub fn run<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        setns(&self.other, CloneFlags::CLONE_NEWNET)?;
        let _back = SwitchBack(&self.own);
        work()
    }
}

/// Switches back even if the work panics.
struct SwitchBack<'a>(&'a File);

impl Drop for SwitchBack<'_> {
    fn drop(&mut self) {
        if setns(self.0, CloneFlags::CLONE_NEWNET).is_err() {
            // Whatever this thread did next would happen in the wrong namespace.
            std::process::abort();
        }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Runs `work` on a thread that ends with it, so that no other code runs in its namespace.
pub fn on_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| match thread::Builder::new().spawn_scoped(scope, work)?.join() {
        Ok(result) => result,
        Err(payload) => panic::resume_unwind(payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_have_cookies_of_their_own() {
        let Ok(own) = own_cookie() else { return };
        assert_eq!(own_cookie().unwrap(), own);
        if let Ok(other) = Namespace::create() {
            assert_ne!(other.run(own_cookie).unwrap(), own);
        }
    }
}
