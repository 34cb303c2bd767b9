//! Where a run is looked at and told things, while it runs.
//!
//! A client gets an [`Answer`] to an [`Ask`] ([`protocol`]). The run answers between two of its
//! own steps, so that an answer never shows half of a change; nothing here touches traffic.

pub mod client;
pub mod http;
mod latest;
pub mod listener;
mod places;
pub mod protocol;
pub mod socket;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use self::protocol::{Answer, Ask};

/// How long an answer may take: what is done for it, such as looking up a name, included.
const PATIENCE: Duration = Duration::from_secs(30);
/// Questions that may wait.
const WAITING: usize = 16;

/// A question, with the way back to the client.
#[derive(Debug)]
pub struct Question {
    /// What.
    pub ask: Ask,
    reply: oneshot::Sender<Answer>,
}

impl Question {
    /// Whether the client is gone, so that nothing needs to be done.
    pub fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Answers it. The client may be gone.
    pub fn answer(self, answer: Answer) {
        let _ = self.reply.send(answer);
    }
}

/// Where questions are handed in.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Question>);

impl Desk {
    /// A desk, and where its questions come out.
    pub fn open() -> (Self, mpsc::Receiver<Question>) {
        let (sender, questions) = mpsc::channel(WAITING);
        (Self(sender), questions)
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&self, ask: Ask) -> Answer {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.send(Question { ask, reply }).await.ok()?;
            answer.await.ok()
        };
        match timeout(PATIENCE, asked).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Answer::Error("it is about to end".to_owned()),
            Err(_) => Answer::Error("it is too busy to answer".to_owned()),
        }
    }
}
