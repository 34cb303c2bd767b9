//! Folders that are watched for changes of what is in them: inotify.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::PathBuf;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// Some folders that are watched. Needs a tokio runtime.
#[derive(Debug)]
pub struct FolderWatch(AsyncFd<Source>);

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

impl FolderWatch {
    /// Watches for files that are written, renamed, made or removed there.
    pub fn new(folders: &[PathBuf]) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let changes = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE;
        for folder in folders {
            inotify.add_watch(folder, changes)?;
        }
        #[allow(deprecated, reason = "its successor is unsafe; a `Source` keeps its descriptor")]
        let watched = AsyncFd::new(Source(inotify))?;
        Ok(Self(watched))
    }

    /// Waits until something has changed.
    pub async fn changed(&mut self) {
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                // The runtime ends, and the wait with it.
                return pending().await;
            };
            if ready.try_io(|source| Ok(source.get_ref().0.read_events()?)).is_ok() {
                return;
            }
        }
    }

    /// Forgets what has changed so far.
    pub fn forget(&mut self) {
        // Fails when there is nothing, and for no other reason.
        let _ = self.0.get_ref().0.read_events();
    }
}
