//! What a worker is told by others, and does between two rounds.

use std::mem;
use std::sync::mpsc::Sender;

use super::Worker;
use crate::relay::mailbox::Message;
use crate::relay::open_connection::OpenConnection;

/// Places of sessions that are looked at in a round for a list of them.
const LISTED: usize = 256;

/// A list of the open connections that is being made. Each stands in it as it was when the list came
/// to it.
#[derive(Debug)]
pub(super) struct Listing {
    /// The place that comes next.
    next: usize,
    connections: Vec<OpenConnection>,
    to: Sender<Vec<OpenConnection>>,
}

impl Worker {
    /// Carries out what others have sent. Every sender waits for the answer, so there are
    /// never more than a few messages.
    pub(super) fn handle_messages(&mut self) {
        for message in self.mailbox.receive() {
            match message {
                Message::Apply(rules, heard) => {
                    self.resources.rules.replace(rules);
                    // Whoever asked may have lost patience.
                    let _ = heard.send(());
                }
                Message::ListConnections(to) => {
                    self.lists.push_back(Listing { next: 0, connections: Vec::new(), to });
                }
                Message::Stop => self.stopped = true,
            }
        }
    }

    /// Goes on with a list, and hands it over at its end.
    pub(super) fn continue_listing(&mut self) {
        let Some(list) = self.lists.front_mut() else { return };
        let places = list.next..self.born.len().min(list.next + LISTED);
        list.next = places.end;
        let sessions = places.filter_map(|key| self.sessions.get(key));
        list.connections
            .extend(sessions.filter_map(|session| session.snapshot(&self.resources.clock)));
        if list.next == self.born.len() {
            // Whoever asked may have lost patience.
            let _ = list.to.send(mem::take(&mut list.connections));
            self.lists.pop_front();
        }
    }
}
