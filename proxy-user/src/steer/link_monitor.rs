//! News of the node's interfaces, as they come, go and are renamed, and as somebody changes what
//! is on them, or set for all of them.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::FutureExt as _;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use tokio::time::sleep;

/// An interface comes with a handful of messages; this is how long we let them come.
const SETTLE: Duration = Duration::from_millis(5);
/// Links, what is on them at TC, and the network settings of each family; from
/// `include/uapi/linux/rtnetlink.h`.
const GROUPS: [u32; 4] = [1, 4, 24, 25];
/// Messages answered by one look.
const AT_ONCE: usize = 1024;
/// Room for a message; the rest of a longer one is cut off.
const MESSAGE: usize = 4096;

/// A subscription. It says that something has changed, not what: a message may be lost, and
/// whoever looks again sees everything.
pub struct LinkMonitor {
    socket: TokioSocket,
    /// Some has come, and more is let come. Kept here, so that who stops waiting loses none.
    has_come: bool,
}

impl LinkMonitor {
    /// Subscribes, in the namespace of the calling thread. Needs a tokio runtime.
    pub fn subscribe() -> Result<Self> {
        Self::open().context("cannot listen for news of interfaces")
    }

    fn open() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let groups = GROUPS.iter().fold(0, |mask, group| mask | 1 << (group - 1));
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
        Ok(Self { socket, has_come: false })
    }

    /// Waits until something may have changed.
    pub async fn next(&mut self) {
        if !self.has_come {
            self.discard().await;
            self.has_come = true;
        }
        sleep(SETTLE).await;
        // What has piled up is answered by one look.
        for _ in 0..AT_ONCE {
            if self.discard().now_or_never().is_none() {
                break;
            }
        }
        self.has_come = false;
    }

    /// Takes a message and forgets it. That some were lost is news as well, and no error.
    async fn discard(&mut self) {
        let mut message = Vec::with_capacity(MESSAGE);
        let _ = self.socket.recv(&mut message).await;
    }
}
