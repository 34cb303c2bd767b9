//! Both directions of a connection, until both have ended or one end has failed.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use proxy_common::Reason;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::flow::{Flow, FlowError, Shared};
use super::gate;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides have said their last byte, and the other side has it.
    Complete,
    /// The upstream takes no more, but everything that it said has been passed on.
    UpstreamLeft,
    /// The connection broke, and both sides are to learn it.
    Broken(Reason),
}

/// What was moved, and how it ended.
#[derive(Debug)]
pub struct Transfer {
    /// Bytes that the upstream has been given.
    pub bytes_in: u64,
    /// Bytes that the client has been given.
    pub bytes_out: u64,
    /// How it ended.
    pub ending: Ending,
}

/// Moves bytes both ways. Half-closes are passed on, each in its own time. With `gated`, the client's
/// first bytes must not be a header.
pub async fn transfer(
    client: &TcpStream,
    upstream: &TcpStream,
    gated: bool,
    idle_timeout: Duration,
    shared: &RefCell<Shared>,
) -> Transfer {
    let mut gate = pin!(gate::pass(client));
    let mut pair = Pair::new(client, upstream, gated);
    let mut last_progress = Instant::now();
    let mut timer = pin!(sleep_until(last_progress + idle_timeout));
    let ending = poll_fn(|cx| {
        if pair.inward_state == Inward::Gated
            && let Poll::Ready(passed) = gate.as_mut().poll(cx)
        {
            match passed {
                Ok(()) => pair.inward_state = Inward::Flowing,
                Err(reason) => return Poll::Ready(Ending::Broken(reason)),
            }
        }
        let before = pair.moved();
        if let Poll::Ready(ending) = pair.poll(cx, &mut shared.borrow_mut()) {
            return Poll::Ready(ending);
        }
        if pair.moved() != before {
            last_progress = Instant::now();
        }
        // The timer is set anew only when it fires: cheaper than at each byte, and as exact.
        while timer.as_mut().poll(cx).is_ready() {
            let deadline = last_progress + idle_timeout;
            if deadline <= Instant::now() {
                return Poll::Ready(Ending::Broken(Reason::IdleTimeout));
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    })
    .await;
    Transfer { bytes_in: pair.inward.moved(), bytes_out: pair.outward.moved(), ending }
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

/// The two flows over the same two sockets.
struct Pair<'a> {
    client: &'a TcpStream,
    upstream: &'a TcpStream,
    inward: Flow,
    inward_state: Inward,
    outward: Flow,
    outward_ended: bool,
}

impl<'a> Pair<'a> {
    const fn new(client: &'a TcpStream, upstream: &'a TcpStream, gated: bool) -> Self {
        Self {
            client,
            upstream,
            inward: Flow::new(),
            inward_state: if gated { Inward::Gated } else { Inward::Flowing },
            outward: Flow::new(),
            outward_ended: false,
        }
    }

    fn moved(&self) -> (u64, u64) {
        (self.inward.moved(), self.outward.moved())
    }

    fn poll(&mut self, cx: &mut Context<'_>, shared: &mut Shared) -> Poll<Ending> {
        if self.inward_state == Inward::Flowing
            && let Poll::Ready(result) = self.inward.poll(cx, self.client, self.upstream, shared)
        {
            self.inward_state = match result {
                Ok(()) => Inward::Ended,
                // It may have answered before it left; that is still on its way to the client.
                Err(FlowError::Sink(error)) => {
                    tracing::debug!(%error, "the upstream takes no more");
                    Inward::Unwanted
                }
                Err(FlowError::Source(error)) => return broken(Reason::ClientReset, &error),
            }
        }
        if !self.outward_ended
            && let Poll::Ready(result) = self.outward.poll(cx, self.upstream, self.client, shared)
        {
            match result {
                Ok(()) => self.outward_ended = true,
                Err(FlowError::Source(error)) => return broken(Reason::UpstreamReset, &error),
                Err(FlowError::Sink(error)) => return broken(Reason::ClientReset, &error),
            }
        }
        match self.inward_state {
            Inward::Ended if self.outward_ended => Poll::Ready(Ending::Complete),
            Inward::Unwanted if self.outward_ended => Poll::Ready(Ending::UpstreamLeft),
            _ => Poll::Pending,
        }
    }
}

fn broken(reason: Reason, error: &io::Error) -> Poll<Ending> {
    tracing::debug!(%reason, %error, "a connection broke");
    Poll::Ready(Ending::Broken(reason))
}
