//! Which connections were opened by the node's own pods. Steering knows, since it sees the interface that
//! a connection came in by; relaying only asks.

use std::fmt;
use std::sync::Arc;

use crate::address::{OriginalDst, PeerAddr};

/// Tells whether a connection that was just accepted came in by a pod's interface.
#[derive(Clone)]
pub struct Pods(Arc<dyn Fn(PeerAddr, OriginalDst) -> bool + Send + Sync>);

impl Pods {
    /// Calls `opened` for each connection from a pod's address.
    pub fn new(opened: impl Fn(PeerAddr, OriginalDst) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(opened))
    }

    /// Whether a pod has opened the connection from this peer to this destination.
    pub fn have_opened(&self, peer: PeerAddr, destination: OriginalDst) -> bool {
        (self.0)(peer, destination)
    }
}

impl fmt::Debug for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pods")
    }
}
