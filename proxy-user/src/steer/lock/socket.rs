//! The socket at which a process listens for successors, in the [directory](super::directory) of locks.
//!
//! A peer's user is checked before anything is spent on it. Few connections may be silent at once, each
//! for a short time, and no error ends the listening.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::directory;
use super::file::FileLock;
use super::protocol::{Answer, LineReader, Received, Request, SERVING, line};
use crate::sys::scm_rights;

/// How many processes can share the directory.
const MAX_PROCESSES: u32 = 4096;
/// How many connections may be silent at once. One more replaces the oldest.
const MAX_SILENT: usize = 16;
/// How long a request may take to arrive, and an answer to be sent.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a failure to accept.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Where successors are sent to.
pub type SuccessorSender = mpsc::Sender<Successor>;

/// A process's socket. The process listens until this is dropped.
#[derive(Debug)]
pub struct TakeoverSocket {
    name: String,
    path: PathBuf,
    listening: JoinHandle<()>,
    /// Reserves the name; dropped after the socket is removed.
    _lock: FileLock,
}

impl TakeoverSocket {
    /// Listens in the background. Needs a tokio runtime.
    pub fn open(to: SuccessorSender) -> Result<Self> {
        for number in 0..MAX_PROCESSES {
            let name = format!("{}{number}", super::PROCESS);
            let Some(lock) = FileLock::try_take(&name, None)? else { continue };
            let path = path(&name);
            // A dead process may have left its socket.
            let _ = fs::remove_file(&path);
            let listener = UnixListener::bind(&path)
                .with_context(|| format!("cannot listen at {}", path.display()))?;
            let listening = tokio::spawn(listen(listener, to));
            return Ok(Self { name, path, listening, _lock: lock });
        }
        bail!("{} is full of living processes", directory::path().display())
    }

    /// Its name, for others to find it by.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TakeoverSocket {
    fn drop(&mut self) {
        self.listening.abort();
        let _ = fs::remove_file(&self.path);
    }
}

/// The path of the socket of this name.
pub fn path(name: &str) -> PathBuf {
    directory::path().join(format!("{name}.sock"))
}

async fn listen(listener: UnixListener, to: SuccessorSender) {
    let mut silent: VecDeque<JoinHandle<()>> = VecDeque::new();
    let mut reserve = Reserve::default();
    loop {
        reserve.fill();
        match listener.accept().await {
            // Only our own user is listened to, even if somebody else got into the directory.
            Ok((stream, _)) if !is_own(&stream) => {}
            Ok((stream, _)) => {
                silent.retain(|task| !task.is_finished());
                if silent.len() >= MAX_SILENT {
                    silent.pop_front().iter().for_each(JoinHandle::abort);
                }
                silent.push_back(tokio::spawn(receive_request(stream, to.clone())));
            }
            // Out of descriptors: the spare one makes room, and after that the oldest connection does.
            Err(_) if reserve.give() => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a successor now");
                silent.retain(|task| !task.is_finished());
                silent.pop_front().iter().for_each(JoinHandle::abort);
                sleep(BACK_OFF).await;
            }
        }
    }
}

/// A descriptor that is kept for when there are no others.
#[derive(Default)]
struct Reserve(Option<File>);

impl Reserve {
    fn fill(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }

    fn give(&mut self) -> bool {
        self.0.take().is_some()
    }
}

fn is_own(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

async fn receive_request(stream: UnixStream, to: SuccessorSender) {
    let mut incoming = LineReader::default();
    let received = timeout(TIMEOUT, receive(&stream, &mut incoming)).await;
    if let Ok(Ok(Some((request, program)))) = received {
        let _ = to.send(Successor { request, program, stream, incoming }).await;
    }
}

/// A whole message, with the file that came with it; `None` at the end.
async fn receive<T: DeserializeOwned>(
    stream: &UnixStream,
    incoming: &mut LineReader,
) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    loop {
        let read = || incoming.receive(stream);
        match stream.async_io(Interest::READABLE, read).await? {
            Received::Message(message, file) => return Ok(Some((message, file))),
            Received::Component => {}
            Received::End => return Ok(None),
        }
    }
}

/// A successor that waits for our answer.
#[derive(Debug)]
pub struct Successor {
    /// Its request.
    pub request: Request,
    /// The file that came with it: its own program, if it is what it claims to be.
    pub program: Option<OwnedFd>,
    stream: UnixStream,
    incoming: LineReader,
}

impl Successor {
    /// Where it wants to answer HTTP.
    pub fn listener(&self) -> Option<SocketAddr> {
        self.request.listener
    }

    /// Tells it that the locks are released, and passes on a listener.
    pub async fn tell_released(&mut self, listener: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.tell(&Answer::Released, listener).await
    }

    /// Tells it why they aren't.
    pub async fn refuse(mut self, why: String) -> io::Result<()> {
        self.tell(&Answer::Refused(why), None).await
    }

    async fn tell(
        &mut self,
        message: &impl Serialize,
        file: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let line = line(message)?;
        // An answer is short, and the socket empty: it is sent as a whole or not at all.
        let send = || scm_rights::send(self.stream.as_fd(), &line, file);
        match timeout(TIMEOUT, self.stream.async_io(Interest::WRITABLE, send)).await {
            Ok(Ok(length)) if length == line.len() => Ok(()),
            Ok(Ok(_)) => Err(io::Error::from(io::ErrorKind::WriteZero)),
            Ok(Err(error)) => Err(error),
            Err(late) => Err(late.into()),
        }
    }

    /// Waits until it says that it serves; false if the connection ends first.
    pub async fn serves(&mut self) -> bool {
        let said = receive::<String>(&self.stream, &mut self.incoming).await;
        matches!(said, Ok(Some((word, _))) if word == SERVING)
    }

    /// Waits until the connection ends.
    pub async fn ended(&mut self) {
        while let Ok(Some((_, _))) = receive::<String>(&self.stream, &mut self.incoming).await {}
    }
}
