//! The successor's side: the owner of what is wanted is asked for it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::file::Owner;
use super::socket;
use super::talk::{Answer, Incoming, Received, Request, SERVING, line};
use crate::sys::passing;

/// Shortest time for which an answer is waited for: the kernel takes none for ever.
const LEAST: Duration = Duration::from_millis(1);

/// A process that was asked for what it has.
#[derive(Debug)]
pub struct Predecessor {
    /// Who it is.
    pub owner: Owner,
    stream: UnixStream,
    incoming: Incoming,
    standing: Standing,
}

/// How it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
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
        match passing::send(&stream, &line(request)?, Some(steer)) {
            Ok(_) => {}
            Err(error) if is_end(&error) => return Ok(None),
            Err(error) => return Err(error).context("cannot ask the Foreword that is there"),
        }
        let (incoming, standing) = (Incoming::default(), Standing::Silent);
        Ok(Some(Self { owner, stream, incoming, standing }))
    }

    /// How it has answered, once more.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Waits for its answer until the deadline. A listener may come with it. A refusal is an error,
    /// in its own words.
    pub fn hear(&mut self, deadline: Instant) -> Result<Option<OwnedFd>> {
        while self.standing == Standing::Silent {
            let patience = deadline.saturating_duration_since(Instant::now()).max(LEAST);
            self.stream.set_read_timeout(Some(patience))?;
            match self.incoming.receive(&self.stream) {
                Ok(Received::Message(Answer::Released, listener)) => {
                    self.standing = Standing::Released;
                    return Ok(listener);
                }
                Ok(Received::Message(Answer::Refused(why), _)) => {
                    self.standing = Standing::Gone;
                    bail!("the Foreword that is there{} refuses: {why}", self.by_pid());
                }
                Ok(Received::End) => self.standing = Standing::Gone,
                Ok(Received::Part) => {}
                Err(error) if is_end(&error) => self.standing = Standing::Gone,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_nothing_yet(&error) => {
                    if Instant::now() >= deadline {
                        return Ok(None);
                    }
                }
                Err(error) => {
                    self.standing = Standing::Gone;
                    return Err(error).context("cannot understand the Foreword that is there");
                }
            }
        }
        Ok(None)
    }

    /// Tells it that we serve. It may be gone.
    pub fn tell_serving(&self) {
        if let Ok(line) = line(&SERVING) {
            let _ = passing::send(self.stream.as_fd(), &line, None);
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
    pub fn by_pid(&self) -> String {
        by_pid(self.owner.pid)
    }
}

/// A pid in brackets, if it is one of our namespace.
pub fn by_pid(pid: i32) -> String {
    if pid == 0 { String::new() } else { format!(" (pid {pid})") }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
