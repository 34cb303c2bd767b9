//! News of the node's interfaces, as they come, go and are renamed.

use std::future::pending;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::time::sleep;

/// An interface comes with a handful of messages; this is how long we let them come.
const SETTLE: Duration = Duration::from_millis(5);

/// A subscription. It says that something has changed, not what: a message may be lost, and
/// whoever looks again sees everything.
pub struct LinkNews {
    messages: Box<dyn futures_util::Stream<Item = ()> + Unpin>,
}

impl LinkNews {
    /// Subscribes, in the namespace of the calling thread. Needs a tokio runtime.
    pub fn subscribe() -> Result<Self> {
        let (connection, _, messages) = new_multicast_connection(&[MulticastGroup::Link])
            .context("cannot listen for news of interfaces")?;
        tokio::spawn(connection);
        Ok(Self { messages: Box::new(messages.map(|_| ())) })
    }

    /// Waits until something may have changed.
    pub async fn next(&mut self) {
        if self.messages.next().await.is_none() {
            // The socket is gone; whoever looks at intervals still sees what happens.
            pending::<()>().await;
        }
        sleep(SETTLE).await;
        // What has piled up meanwhile is answered by one look.
        while let Some(Some(())) = futures_util::FutureExt::now_or_never(self.messages.next()) {}
    }
}
