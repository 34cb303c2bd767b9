//! The right to steer an interface, and how it is handed over.
//!
//! A lock is an abstract socket, of which the kernel allows one of a name in a network namespace,
//! and which ends with its process. It is also the way to talk to whoever has it: a successor
//! connects, and asks for the interface.

#[allow(dead_code, reason = "what instances share moves there piece by piece")]
pub mod folder;

use std::io::{self, Read as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::interface::NetworkInterface;

/// What a successor says, and what it is told when the lock is free.
const REQUEST: &[u8; 12] = b"take over 1\n";
const RELEASED: &[u8; 9] = b"released\n";
/// How long a predecessor may take to answer, and its lock to be free.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a lock that is about to be free is tried.
const RETRY: Duration = Duration::from_millis(10);

/// A successor that waits for an answer.
#[derive(Debug)]
pub struct Successor(tokio::net::UnixStream);

impl Successor {
    /// Tells it that the locks are free.
    pub async fn tell_released(mut self) -> io::Result<()> {
        self.0.write_all(RELEASED).await
    }
}

/// Where successors are announced.
pub type Announcements = mpsc::Sender<Successor>;

/// The right to steer an interface, until it is dropped.
#[derive(Debug)]
pub struct InterfaceLock {
    listening: JoinHandle<()>,
}

impl InterfaceLock {
    /// Takes it; `None` if somebody else has it. Needs a tokio runtime, in which successors are
    /// listened for.
    pub fn try_take(interface: &NetworkInterface, to: &Announcements) -> Result<Option<Self>> {
        let listener = match UnixListener::bind_addr(&address(interface.index())?) {
            Ok(listener) => listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot lock {interface}"));
            }
        };
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let listening = tokio::spawn(listen(listener, to.clone()));
        Ok(Some(Self { listening }))
    }

    /// The same where it has to be free.
    pub fn take(interface: &NetworkInterface, to: &Announcements) -> Result<Self> {
        if let Some(lock) = Self::try_take(interface, to)? {
            return Ok(lock);
        }
        let holder = holder(interface.index()).map_or(String::new(), |pid| format!(" (pid {pid})"));
        bail!(
            "{interface} is already steered by another Foreword{holder}; stop that one first, or \
             take over from it with --take-over"
        );
    }

    /// Asks whoever has it to let go, and takes it.
    pub fn take_over(interface: &NetworkInterface, to: &Announcements) -> Result<Self> {
        ask(interface).with_context(|| format!("cannot take {interface} over"))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(lock) = Self::try_take(interface, to)? {
                return Ok(lock);
            }
            if Instant::now() > deadline {
                bail!("{interface} was not let go; stop the Foreword that steers it");
            }
            sleep(RETRY);
        }
    }
}

impl Drop for InterfaceLock {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Keeps others from taking the lock of the interface of this index, as long as the result lives;
/// `None` if somebody has it, or is not done with the interface. For clearing away what the dead
/// have left.
pub fn keep_free(index: u32) -> Option<UnixListener> {
    let kept = UnixListener::bind_addr(&address(index).ok()?).ok()?;
    (!is_draining(index)).then_some(kept)
}

/// Says that a process which has handed its interface over still steers connections of its own
/// there: filters of our name are then not only the dead's.
#[derive(Debug)]
pub struct DrainingMark {
    _socket: UnixListener,
}

/// Processes that drain on one interface at once: one takeover after the other.
const MARKS: u32 = 8;

impl DrainingMark {
    /// Sets one of the interface's marks; `None` if they are all taken.
    pub fn set(index: u32) -> Option<Self> {
        let addresses = (0..MARKS).filter_map(|mark| mark_address(index, mark).ok());
        let mut sockets = addresses.filter_map(|address| UnixListener::bind_addr(&address).ok());
        sockets.next().map(|socket| Self { _socket: socket })
    }
}

/// Whether a process which has handed the interface over is not done yet.
pub fn is_draining(index: u32) -> bool {
    let addresses = (0..MARKS).filter_map(|mark| mark_address(index, mark).ok());
    addresses.into_iter().any(|address| UnixStream::connect_addr(&address).is_ok())
}

/// Announces each successor that asks.
async fn listen(listener: tokio::net::UnixListener, to: Announcements) {
    while let Ok((mut stream, _)) = listener.accept().await {
        // Anybody on this node can connect; only our own kind may take an interface away.
        let is_ours = stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw());
        let to = to.clone();
        tokio::spawn(async move {
            let mut request = [0; REQUEST.len()];
            let asks = stream.read_exact(&mut request).await.is_ok() && &request == REQUEST;
            if is_ours && asks {
                let _ = to.send(Successor(stream)).await;
            }
        });
    }
}

/// Asks for an interface, and waits for the answer. A holder that is gone needs not be asked.
fn ask(interface: &NetworkInterface) -> Result<()> {
    let Ok(mut stream) = UnixStream::connect_addr(&address(interface.index())?) else {
        return Ok(());
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    let mut answer = [0; RELEASED.len()];
    match stream.read_exact(&mut answer) {
        Ok(()) if &answer == RELEASED => Ok(()),
        // It let go of all its interfaces when it was asked for the first, or it has ended.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Ok(()) => bail!("the Foreword that steers it speaks another language"),
        Err(error) => Err(error).context("the Foreword that steers it does not answer"),
    }
}

fn address(index: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("foreword/{index}"))
}

fn mark_address(index: u32, mark: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("foreword/{index}/draining/{mark}"))
}

/// The process that has the lock of the interface of this index.
pub fn holder(index: u32) -> Option<i32> {
    let stream = UnixStream::connect_addr(&address(index).ok()?).ok()?;
    Some(getsockopt(&stream, PeerCredentials).ok()?.pid())
}
