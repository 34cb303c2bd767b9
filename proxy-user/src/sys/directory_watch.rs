//! Watching directories for changes to what is in them (inotify).

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::PathBuf;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// A watch on some directories. Needs a tokio runtime.
#[derive(Debug)]
pub struct DirectoryWatch(AsyncFd<Source>);

#[derive(Debug)]
struct Source(Inotify);

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl DirectoryWatch {
    /// Watches for files that are written, renamed, created or removed there.
    pub fn new(directories: &[PathBuf]) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let changes = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE;
        for directory in directories {
            inotify.add_watch(directory, changes)?;
        }
        #[allow(deprecated, reason = "its replacement is unsafe; a `Source` keeps its descriptor")]
        let watched = AsyncFd::new(Source(inotify))?;
        Ok(Self(watched))
    }

    /// Waits until something has changed.
    pub async fn changed(&mut self) {
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                // The runtime is shutting down.
                return pending().await;
            };
            if ready.try_io(|source| Ok(source.get_ref().0.read_events()?)).is_ok() {
                return;
            }
        }
    }

    /// Discards the changes so far.
    pub fn forget(&mut self) {
        // Fails only when there is nothing to read.
        let _ = self.0.get_ref().0.read_events();
    }
}
