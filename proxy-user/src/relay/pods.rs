//! Which connections the node's own pods have opened, as far as relaying has to know: somebody else
//! has seen the interfaces that they came in by.

use std::fmt;
use std::sync::Arc;

use crate::address::{OriginalDst, PeerAddr};

/// Tells whether a connection that was just accepted came in by an interface that pods are behind.
#[derive(Clone)]
pub struct Pods(Arc<dyn Fn(PeerAddr, OriginalDst) -> bool + Send + Sync>);

impl Pods {
    /// Asks `opened` of each connection from a pod's address.
    pub fn new(opened: impl Fn(PeerAddr, OriginalDst) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(opened))
    }

    /// Whether a pod has opened the connection of this peer and destination.
    pub fn have_opened(&self, peer: PeerAddr, destination: OriginalDst) -> bool {
        (self.0)(peer, destination)
    }
}

impl fmt::Debug for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pods")
    }
}
