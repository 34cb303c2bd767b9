//! The successor's side: the owner of what is wanted is asked for it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::file::Owner;
use super::protocol::{Answer, LineReader, Received, Request, SERVING, line};
use super::socket;
use crate::sys::scm_rights;

/// Shortest time for which an answer is waited for: the kernel takes none for ever.
const LEAST: Duration = Duration::from_millis(1);

/// A process that was asked for what it has.
#[derive(Debug)]
pub struct Predecessor {
    /// Who it is.
    pub owner: Owner,
    stream: UnixStream,
    incoming: LineReader,
    state: PredecessorState,
}

/// How it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredecessorState {
    /// Not at all so far.
    Silent,
    /// It has let go.
    Released,
    /// It has ended.
    Gone,
}

impl Predecessor {
    /// Asks the owner of a lock; `None` if it is gone already, or does not listen yet.
    pub fn ask(owner: Owner, request: &Request, steer: BorrowedFd<'_>) -> Result<Option<Self>> {
        let Some(name) = &owner.socket else { return Ok(None) };
        let Ok(stream) = UnixStream::connect(socket::path(name)) else { return Ok(None) };
        // A question fits into the socket's buffer, so that this does not block.
        match scm_rights::send(&stream, &line(request)?, Some(steer)) {
            Ok(_) => {}
            Err(error) if is_end(&error) => return Ok(None),
            Err(error) => return Err(error).context("cannot ask the Foreword that is there"),
        }
        let (incoming, state) = (LineReader::default(), PredecessorState::Silent);
        Ok(Some(Self { owner, stream, incoming, state }))
    }

    /// How it has answered, once more.
    pub fn state(&self) -> PredecessorState {
        self.state
    }

    /// Waits for its answer until the deadline. A listener may come with it. A refusal is an error,
    /// in its own words.
    pub fn await_answer(&mut self, deadline: Instant) -> Result<Option<OwnedFd>> {
        while self.state == PredecessorState::Silent {
            let patience = deadline.saturating_duration_since(Instant::now()).max(LEAST);
            self.stream.set_read_timeout(Some(patience))?;
            match self.incoming.receive(&self.stream) {
                Ok(Received::Message(Answer::Released, listener)) => {
                    self.state = PredecessorState::Released;
                    return Ok(listener);
                }
                Ok(Received::Message(Answer::Refused(why), _)) => {
                    self.state = PredecessorState::Gone;
                    bail!("the Foreword that is there{} refuses: {why}", self.pid_suffix());
                }
                Ok(Received::End) => self.state = PredecessorState::Gone,
                Ok(Received::Component) => {}
                Err(error) if is_end(&error) => self.state = PredecessorState::Gone,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_nothing_yet(&error) => {
                    if Instant::now() >= deadline {
                        return Ok(None);
                    }
                }
                Err(error) => {
                    self.state = PredecessorState::Gone;
                    return Err(error).context("cannot understand the Foreword that is there");
                }
            }
        }
        Ok(None)
    }

    /// Tells it that we serve. It may be gone.
    pub fn tell_serving(&self) {
        if let Ok(line) = line(&SERVING) {
            let _ = scm_rights::send(self.stream.as_fd(), &line, None);
        }
    }

    /// Whether it has ended the conversation: it needs us no more.
    pub fn has_ended(&mut self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let received = self.incoming.receive::<String>(&self.stream);
        !matches!(received, Err(error) if is_nothing_yet(&error))
    }

    /// Its pid in brackets, where that is known.
    pub fn pid_suffix(&self) -> String {
        pid_suffix(self.owner.pid)
    }
}

/// A pid in brackets, if it is one of our namespace.
pub fn pid_suffix(pid: i32) -> String {
    if pid == 0 { String::new() } else { format!(" (pid {pid})") }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
