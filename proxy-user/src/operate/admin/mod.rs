//! Where a run is looked at and told things, while it runs.
//!
//! Whoever asks writes one line of JSON to the socket, an [`Ask`], and gets one back, an
//! [`Answer`]. The run answers between two of its own steps, so that an answer never shows half of
//! a change; nothing here touches traffic.

pub mod client;
pub mod http;
mod latest;
mod places;
pub mod socket;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long an answer may take: what is done for it, such as looking up a name, included.
const PATIENCE: Duration = Duration::from_secs(30);
/// Questions that may wait.
const WAITING: usize = 16;

/// What can be asked of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum Ask {
    /// How it stands: a [`Status`](super::report::Status).
    Status,
    /// What is open: a list of [`Connection`](super::report::connections::Connection)s.
    Connections,
    /// To read its configuration again: the lines of what has changed.
    Reload,
    /// Who sends headers: a list of [`Cutover`](super::report::cutover::Cutover)s.
    Cutover {
        /// Of this rule; `None`: of all.
        rule: Option<String>,
        /// For how long nobody may have been without.
        quiet: Duration,
    },
    /// To require headers: what was done, in lines.
    Tighten {
        /// Of this rule; `None`: of the only one.
        rule: Option<String>,
        /// For how long nobody may have been without.
        quiet: Duration,
        /// Whether that does not matter.
        force: bool,
    },
}

/// What comes back.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// What was asked for.
    Answer(Value),
    /// Why there is none.
    Error(String),
}

/// Something asked, with the way back to whoever has.
#[derive(Debug)]
pub struct Question {
    /// What.
    pub ask: Ask,
    reply: oneshot::Sender<Answer>,
}

impl Question {
    /// Whether whoever has asked is gone, so that nothing needs to be done.
    pub fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Answers it. Whoever has asked may be gone.
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
