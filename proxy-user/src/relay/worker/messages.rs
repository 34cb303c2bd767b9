//! What a worker does between two rounds because others have asked for it.

use std::sync::mpsc::Sender;
use std::vec;

use super::Worker;
use crate::relay::mailbox::Message;
use crate::relay::open_connection::OpenConnection;
use crate::relay::token::SessionKey;

/// How many sessions are added to a list in a round.
const LISTED: usize = 256;

/// A list of the open connections in the making. Each is listed as it is when the list comes to it.
#[derive(Debug)]
pub(super) struct Listing {
    /// Sessions still to be listed, of those that there were at first.
    left: vec::IntoIter<SessionKey>,
    connections: Vec<OpenConnection>,
    to: Sender<Vec<OpenConnection>>,
}

impl Worker {
    /// Handles what others have sent. They all wait for the answer, so there are never more than a few
    /// messages.
    pub(super) fn handle_messages(&mut self) {
        for message in self.mailbox.receive() {
            match message {
                Message::Apply(rules, confirmed) => {
                    self.resources.rules.replace(rules);
                    // The sender may have lost patience.
                    let _ = confirmed.send(());
                }
                Message::ListConnections(to) => {
                    let left = self.sessions.keys().collect::<Vec<_>>().into_iter();
                    self.listings.push_back(Listing { left, connections: Vec::new(), to });
                }
                Message::Stop => self.is_stopped = true,
            }
        }
    }

    /// Goes on with a list, and sends it when it is complete.
    pub(super) fn continue_listing(&mut self) {
        let Some(listing) = self.listings.front_mut() else { return };
        let sessions = listing.left.by_ref().take(LISTED).filter_map(|key| self.sessions.get(key));
        let open = sessions.filter_map(|session| session.snapshot(&self.resources.clock));
        listing.connections.extend(open);
        if listing.left.as_slice().is_empty()
            && let Some(Listing { connections, to, .. }) = self.listings.pop_front()
        {
            // The sender may have lost patience.
            let _ = to.send(connections);
        }
    }
}
