//! Both directions of a connection, until both have ended or one side has failed.

use std::io;

use proxy_common::Reason;

use super::flow::{Flow, FlowError, Scratch};
use super::progress::Progress;
use super::stream::{PipeLike, Socket, Stream};
use crate::sys::pipe::Pipe;

/// How a transfer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides have written their last byte, and the other side has it. One of them is still to be told
    /// that it was the last, by a close.
    Complete,
    /// The upstream takes no more. All that it has written has been passed on, but not its end.
    UpstreamLeft,
    /// The connection broke, and both sides are to learn of it.
    Broken(Reason),
}

/// What becomes of the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FromClient {
    /// They must not be read yet.
    Gated,
    /// They are passed on.
    Flowing,
    /// All of them, and their end, are with the upstream.
    Ended,
    /// The upstream takes no more of them.
    Unwanted,
}

/// The two flows between a client and an upstream. Half-closes are passed on, each in its own time.
#[derive(Debug)]
pub struct Transfer<P = Pipe> {
    to_upstream: Flow<P>,
    from_client: FromClient,
    to_client: Flow<P>,
    to_client_ended: bool,
}

impl<P: PipeLike> Transfer<P> {
    /// A transfer that has moved nothing. With `gated`, the client's bytes wait for
    /// [`Transfer::open_gate`].
    pub const fn new(gated: bool) -> Self {
        Self {
            to_upstream: Flow::new(),
            from_client: if gated { FromClient::Gated } else { FromClient::Flowing },
            to_client: Flow::new(),
            to_client_ended: false,
        }
    }

    /// Whether the client's bytes must not be read yet.
    pub fn is_gated(&self) -> bool {
        self.from_client == FromClient::Gated
    }

    /// Lets the client's bytes flow.
    pub fn open_gate(&mut self) {
        self.from_client = FromClient::Flowing;
    }

    /// How many bytes the upstream has taken, and how many the client.
    pub const fn moved(&self) -> (u64, u64) {
        (self.to_upstream.moved(), self.to_client.moved())
    }

    /// How many bytes are held on the way from client to upstream, and back.
    pub const fn held(&self) -> [u64; 2] {
        [self.to_upstream.held(), self.to_client.held()]
    }

    /// Moves what can be moved now.
    pub fn advance<S: Stream<Pipe = P>>(
        &mut self,
        client: &Socket<S>,
        upstream: &Socket<S>,
        scratch: &mut Scratch<P>,
    ) -> Progress<Ending> {
        let mut busy = false;
        if self.from_client == FromClient::Flowing {
            match self.to_upstream.advance(client, upstream, scratch, self.to_client_ended) {
                Ok(Progress::Done(())) => self.from_client = FromClient::Ended,
                Ok(progress) => busy |= progress == Progress::Yielded,
                // It may have answered before; that is still on its way to the client.
                Err(FlowError::Sink(error)) => {
                    tracing::debug!(%error, "the upstream takes no more");
                    self.from_client = FromClient::Unwanted;
                }
                Err(FlowError::Source(error)) => return broken(Reason::ClientReset, &error),
            }
        }
        if !self.to_client_ended {
            let is_last = matches!(self.from_client, FromClient::Ended | FromClient::Unwanted);
            match self.to_client.advance(upstream, client, scratch, is_last) {
                Ok(Progress::Done(())) => self.to_client_ended = true,
                Ok(progress) => busy |= progress == Progress::Yielded,
                Err(FlowError::Source(error)) => return broken(Reason::UpstreamReset, &error),
                Err(FlowError::Sink(error)) => return broken(Reason::ClientReset, &error),
            }
        }
        match self.from_client {
            FromClient::Ended if self.to_client_ended => Progress::Done(Ending::Complete),
            FromClient::Unwanted if self.to_client_ended => Progress::Done(Ending::UpstreamLeft),
            _ if busy => Progress::Yielded,
            _ => Progress::Blocked,
        }
    }
}

fn broken(reason: Reason, error: &io::Error) -> Progress<Ending> {
    tracing::debug!(%reason, %error, "a connection broke");
    Progress::Done(Ending::Broken(reason))
}
