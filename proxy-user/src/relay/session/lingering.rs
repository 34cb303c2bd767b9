//! The last stage: we have written our last byte and its end, and read away what the client still sends.
//! With unread bytes in the socket a close would be a reset, and could overtake what we have written.

use std::io::ErrorKind;
use std::time::Duration;

use super::connection::Connection;
use super::{Next, State};
use crate::relay::progress::Progress;
use crate::relay::resources::Context;
use crate::relay::step_budget::DISCARDS;
use crate::relay::wheel::Tick;

/// How long the client has to read our last byte.
const LINGER: Duration = Duration::from_secs(2);

/// A connection whose end is recorded, and that the client is still to hear of.
#[derive(Debug)]
pub(super) struct Lingering {
    deadline: Tick,
}

impl Lingering {
    /// Ends our direction; `None`: the client is gone already.
    pub(super) fn start(connection: &Connection, cx: &Context<'_>) -> Option<State> {
        if connection.client.shutdown_write().is_err() {
            connection.client.close_in_order();
            return None;
        }
        Some(State::Lingering(Self { deadline: cx.resources.clock.after(LINGER) }))
    }

    pub(super) fn advance(connection: &Connection, cx: &mut Context<'_>) -> Progress<Next> {
        let scratch = &mut cx.resources.scratch;
        for _ in 0..DISCARDS {
            match connection.client.read(&mut scratch.buffer) {
                Ok(1..) => scratch.budget.spend(1),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Blocked,
                // Whether the client has closed or vanished: nothing more can be done for it.
                Ok(0) | Err(_) => return Progress::Done(Next::Close),
            }
        }
        Progress::Yielded
    }

    pub(super) const fn time_out() -> Progress<Next> {
        Progress::Done(Next::Close)
    }

    pub(super) const fn deadline(&self) -> Tick {
        self.deadline
    }
}
