//! How a run is asked for its state, and told to reload, while it serves.
//!
//! A client sends a [`Request`] and gets a [`Response`] ([`protocol`]). The control loop answers between
//! two of its own steps, so that a response never shows half of a change; nothing here touches traffic.

pub mod client;
mod connection_slots;
pub mod http;
pub mod listener;
pub mod protocol;
mod snapshots;
pub mod socket;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use self::protocol::{Request, Response};

/// How long a response may take: what is done for it, such as looking up a name, included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that may wait.
const QUEUE_LENGTH: usize = 16;

/// A request, with the way back to the client.
#[derive(Debug)]
pub struct PendingRequest {
    /// What is asked.
    pub ask: Request,
    reply: oneshot::Sender<Response>,
}

impl PendingRequest {
    /// Whether the client is gone, so that nothing needs to be done.
    pub fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Answers it. The client may be gone.
    pub fn answer(self, answer: Response) {
        let _ = self.reply.send(answer);
    }
}

/// Hands requests to the control loop.
#[derive(Clone, Debug)]
pub struct RequestSender(mpsc::Sender<PendingRequest>);

impl RequestSender {
    /// A sender, and where its requests arrive.
    pub fn open() -> (Self, mpsc::Receiver<PendingRequest>) {
        let (sender, requests) = mpsc::channel(QUEUE_LENGTH);
        (Self(sender), requests)
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&self, ask: Request) -> Response {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.send(PendingRequest { ask, reply }).await.ok()?;
            answer.await.ok()
        };
        match timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Response::Error("it is about to end".to_owned()),
            Err(_) => Response::Error("it is too busy to answer".to_owned()),
        }
    }
}
