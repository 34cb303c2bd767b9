//! The successor's side of a takeover: asking the owner of a lock for it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::file::Owner;
use super::protocol::{Answer, LineReader, Received, Request, SERVING, line};
use super::socket;
use crate::steer::refusal::pid_suffix;
use crate::sys::scm_rights;

/// The shortest time to wait for an answer: to the kernel, zero means for ever.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// A process that was asked to hand over.
#[derive(Debug)]
pub struct Predecessor {
    /// The process.
    pub owner: Owner,
    stream: UnixStream,
    incoming: LineReader,
    state: PredecessorState,
}

/// What a predecessor has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredecessorState {
    /// Nothing so far.
    Silent,
    /// That it has released its locks.
    Released,
    /// The conversation is over.
    Gone,
}

impl Predecessor {
    /// Asks the owner of a lock; `None` if it is gone, or does not listen yet.
    pub fn ask(owner: Owner, request: &Request, steer: BorrowedFd<'_>) -> Result<Option<Self>> {
        let Some(name) = &owner.socket else { return Ok(None) };
        let Ok(stream) = UnixStream::connect(socket::path(name)) else { return Ok(None) };
        // A request fits into the socket's buffer, so this does not block.
        match scm_rights::send(&stream, &line(request)?, Some(steer)) {
            Ok(_) => {}
            Err(error) if is_end(&error) => return Ok(None),
            Err(error) => return Err(error).context("cannot ask the Foreword that is there"),
        }
        let (incoming, state) = (LineReader::default(), PredecessorState::Silent);
        Ok(Some(Self { owner, stream, incoming, state }))
    }

    /// What it has answered so far.
    pub fn state(&self) -> PredecessorState {
        self.state
    }

    /// Waits for its answer until the deadline, and returns the listener that may come with it. A
    /// refusal is an error, in the predecessor's words.
    pub fn await_answer(&mut self, deadline: Instant) -> Result<Option<OwnedFd>> {
        while self.state == PredecessorState::Silent {
            let timeout = deadline.saturating_duration_since(Instant::now()).max(MIN_TIMEOUT);
            self.stream.set_read_timeout(Some(timeout))?;
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

    /// Tells it that we serve. It may have ended.
    pub fn tell_serving(&self) {
        if let Ok(line) = line(&SERVING) {
            let _ = scm_rights::send(self.stream.as_fd(), &line, None);
        }
    }

    /// Whether it has closed the connection, and is done with us.
    pub fn has_ended(&mut self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let received = self.incoming.receive::<String>(&self.stream);
        !matches!(received, Err(error) if is_nothing_yet(&error))
    }

    /// Its pid in brackets, if that is known.
    pub fn pid_suffix(&self) -> String {
        pid_suffix(self.owner.pid)
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
