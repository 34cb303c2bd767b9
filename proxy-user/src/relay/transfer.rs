//! Both directions of a connection, until both have ended or one end has failed.

use std::io;

use proxy_common::Reason;

use super::flow::{Flow, FlowError, Progress, Scratch};
use super::stream::{Conduit, Socket, Stream};
use crate::sys::pipe::Pipe;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides have said their last byte, and the other side has it. One of them is yet to be
    /// told that it was the last, by a close.
    Complete,
    /// The upstream takes no more, but everything that it said has been passed on, except that it
    /// was the last.
    UpstreamLeft,
    /// The connection broke, and both sides are to learn it.
    Broken(Reason),
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It goes on when an end is reported ready.
    Waiting,
    /// It could go on at once.
    Busy,
    /// It is over.
    Over(Ending),
}

/// Where the client's bytes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inward {
    /// They are not to be read yet.
    Gated,
    /// They are passed on.
    Flowing,
    /// All of them, and their end, are with the upstream.
    Ended,
    /// The upstream takes no more of them.
    Unwanted,
}

/// The two flows between the same two ends. Half-closes are passed on, each in its own time.
#[derive(Debug)]
pub struct Transfer<P = Pipe> {
    inward: Flow<P>,
    inward_state: Inward,
    outward: Flow<P>,
    outward_ended: bool,
}

impl<P: Conduit> Transfer<P> {
    /// At its beginning. With `gated`, the client's bytes wait until [`Transfer::open_gate`].
    pub const fn new(gated: bool) -> Self {
        Self {
            inward: Flow::new(),
            inward_state: if gated { Inward::Gated } else { Inward::Flowing },
            outward: Flow::new(),
            outward_ended: false,
        }
    }

    /// Whether the client's bytes are not to be read yet.
    pub fn is_gated(&self) -> bool {
        self.inward_state == Inward::Gated
    }

    /// Lets the client's bytes flow.
    pub fn open_gate(&mut self) {
        self.inward_state = Inward::Flowing;
    }

    /// Bytes that the upstream has been given, and that the client has.
    pub const fn moved(&self) -> (u64, u64) {
        (self.inward.moved(), self.outward.moved())
    }

    /// Bytes that are held between client and upstream, and back.
    pub const fn held(&self) -> [u64; 2] {
        [self.inward.held(), self.outward.held()]
    }

    /// Moves what can be moved now.
    pub fn advance<S: Stream<Pipe = P>>(
        &mut self,
        client: &Socket<S>,
        upstream: &Socket<S>,
        scratch: &mut Scratch<P>,
    ) -> Stand {
        let mut busy = false;
        if self.inward_state == Inward::Flowing {
            match self.inward.advance(client, upstream, scratch, self.outward_ended) {
                Ok(Progress::Done) => self.inward_state = Inward::Ended,
                Ok(progress) => busy |= progress == Progress::Busy,
                // It may have answered before it left; that is still on its way to the client.
                Err(FlowError::Sink(error)) => {
                    tracing::debug!(%error, "the upstream takes no more");
                    self.inward_state = Inward::Unwanted;
                }
                Err(FlowError::Source(error)) => return broken(Reason::ClientReset, &error),
            }
        }
        if !self.outward_ended {
            let is_last = matches!(self.inward_state, Inward::Ended | Inward::Unwanted);
            match self.outward.advance(upstream, client, scratch, is_last) {
                Ok(Progress::Done) => self.outward_ended = true,
                Ok(progress) => busy |= progress == Progress::Busy,
                Err(FlowError::Source(error)) => return broken(Reason::UpstreamReset, &error),
                Err(FlowError::Sink(error)) => return broken(Reason::ClientReset, &error),
            }
        }
        match self.inward_state {
            Inward::Ended if self.outward_ended => Stand::Over(Ending::Complete),
            Inward::Unwanted if self.outward_ended => Stand::Over(Ending::UpstreamLeft),
            _ if busy => Stand::Busy,
            _ => Stand::Waiting,
        }
    }
}

fn broken(reason: Reason, error: &io::Error) -> Stand {
    tracing::debug!(%reason, %error, "a connection broke");
    Stand::Over(Ending::Broken(reason))
}
