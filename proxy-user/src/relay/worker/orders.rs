//! What a worker is told by others, and does between two rounds.

use std::mem;
use std::sync::mpsc::Sender;

use super::Worker;
use crate::relay::live::Live;
use crate::relay::mailbox::Order;

/// Places of sessions that are looked at in a round for a list of them.
const LISTED: usize = 256;

/// A list of the open connections that is being made. Each stands in it as it was when the list came
/// to it.
#[derive(Debug)]
pub(super) struct List {
    /// The place that comes next.
    next: usize,
    live: Vec<Live>,
    to: Sender<Vec<Live>>,
}

impl Worker {
    /// Carries out what it is told. Whoever tells it something waits for the answer, so there are
    /// never more than a few orders.
    pub(super) fn obey(&mut self) {
        for order in self.mailbox.take() {
            match order {
                Order::Serve(rules, heard) => {
                    self.resources.rules.exchange(rules);
                    // Whoever asked may have lost patience.
                    let _ = heard.send(());
                }
                Order::List(to) => self.lists.push_back(List { next: 0, live: Vec::new(), to }),
                Order::Stop => self.stopped = true,
            }
        }
    }

    /// Goes on with a list, and hands it over at its end.
    pub(super) fn list_on(&mut self) {
        let Some(list) = self.lists.front_mut() else { return };
        let places = list.next..self.born.len().min(list.next + LISTED);
        list.next = places.end;
        let sessions = places.filter_map(|key| self.sessions.get(key));
        list.live.extend(sessions.filter_map(|session| session.live(&self.resources.clock)));
        if list.next == self.born.len() {
            // Whoever asked may have lost patience.
            let _ = list.to.send(mem::take(&mut list.live));
            self.lists.pop_front();
        }
    }
}
