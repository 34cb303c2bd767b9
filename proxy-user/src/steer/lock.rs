//! The right to steer an interface, and how it is handed over.
//!
//! A lock is a [file](file) that is locked, in a [directory](directory) of root's alone; the kernel lets go
//! of it when its process ends. Locks are named by network namespace and interface index, since an
//! index is a namespace's own. The owner of one listens at its [socket](socket), and a successor
//! [asks](predecessor) for it there.

pub mod directory;
mod file;
mod predecessor;
mod protocol;
mod socket;

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::file::{FileLock, is_taken};
pub use self::file::{Owner, sweep};
pub use self::predecessor::{Predecessor, PredecessorState, pid_suffix};
pub use self::protocol::Request;
pub use self::socket::{Successor, SuccessorSender, TakeoverSocket};
use super::interface::NetworkInterface;
use crate::sys::netns;

/// How long somebody may have a lock for a moment only.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is tried meanwhile.
const RETRY: Duration = Duration::from_millis(10);
/// How the name of a draining mark ends.
const DRAINING: &str = "-draining";
/// What is between network namespace and address in the name of a listener's lock.
const LISTENER: &str = "-http-";
/// How the name of a process's own lock begins; its socket has the same name with an ending.
const PROCESS: &str = "process-";

/// The right to steer an interface, until it is dropped.
#[derive(Debug)]
pub struct InterfaceLock {
    _file: FileLock,
}

impl InterfaceLock {
    /// Takes it; `None` if somebody else has it.
    pub fn try_take(interface: &NetworkInterface, by: &TakeoverSocket) -> Result<Option<Self>> {
        let taken = FileLock::try_take(&name(interface.index())?, Some(by.name()));
        let taken = taken.with_context(|| format!("cannot lock {interface}"))?;
        Ok(taken.map(|file| Self { _file: file }))
    }

    /// The same where it is about to be free: a sweep has it for a moment, or its owner has let go.
    pub fn await_free(
        interface: &NetworkInterface,
        by: &TakeoverSocket,
        patience: Duration,
    ) -> Result<Option<Self>> {
        let deadline = Instant::now() + patience;
        loop {
            let lock = Self::try_take(interface, by)?;
            if lock.is_some() || Instant::now() >= deadline {
                return Ok(lock);
            }
            sleep(RETRY);
        }
    }

    /// The same where it has to be free.
    pub fn take(interface: &NetworkInterface, by: &TakeoverSocket) -> Result<Self> {
        if let Some(lock) = Self::try_take(interface, by)? {
            return Ok(lock);
        }
        let owner = owner(interface.index())?;
        if owner.as_ref().is_none_or(|owner| owner.socket.is_none())
            && let Some(lock) = Self::await_free(interface, by, PATIENCE)?
        {
            return Ok(lock);
        }
        bail!(
            "{interface} is already steered by another Foreword{}; stop that one first, or take \
             over from it with --take-over",
            owner.map_or(String::new(), |owner| pid_suffix(owner.pid))
        );
    }
}

/// Keeps others from taking the lock of the interface of this index, as long as the result lives;
/// `None` if somebody has it, or is not done with the interface. For clearing away what the dead
/// have left.
pub fn exclude_others(index: u32) -> Option<impl Sized> {
    let kept = FileLock::try_take(&name(index).ok()?, None).ok()??;
    (!is_draining(index)).then_some(kept)
}

/// Says that a process which has handed its interface over still steers connections of its own
/// there: filters of our name are then not only the dead's.
#[derive(Debug)]
pub struct DrainingLock {
    _file: FileLock,
}

impl DrainingLock {
    /// Sets it; `None` if that can't be done. Others may have set it as well.
    pub fn set(index: u32) -> Option<Self> {
        let set = || FileLock::try_share(&draining_name(index)?);
        match set() {
            Ok(file) => file.map(|file| Self { _file: file }),
            Err(error) => {
                tracing::warn!(error = %format!("{error:#}"), "cannot say that we are draining");
                None
            }
        }
    }
}

/// Whether a process which has handed the interface over is not done yet. If that can't be seen, it
/// might be.
pub fn is_draining(index: u32) -> bool {
    draining_name(index).and_then(|name| is_taken(&name)).unwrap_or(true)
}

/// Who has the lock of the interface of this index.
pub fn owner(index: u32) -> Result<Option<Owner>> {
    file::owner(&name(index)?)
}

/// The process that has it, where that can be seen; 0 for one in another pid namespace.
pub fn holder(index: u32) -> Result<Option<i32>> {
    Ok(owner(index)?.map(|owner| owner.pid))
}

/// Says who listens for HTTP at an address, so that a successor knows whom to ask.
#[derive(Debug)]
pub struct ListenerLock {
    _file: FileLock,
}

impl ListenerLock {
    /// Says that we do. Needs to be said by nobody else.
    pub fn take(address: SocketAddr, by: &TakeoverSocket) -> Result<Option<Self>> {
        let file = FileLock::try_take(&listener_name(address)?, Some(by.name()))?;
        Ok(file.map(|file| Self { _file: file }))
    }
}

/// Who listens at this address, if it is one of us.
pub fn listener_owner(address: SocketAddr) -> Result<Option<Owner>> {
    file::owner(&listener_name(address)?)
}

fn name(index: u32) -> Result<String> {
    Ok(format!("{}-{index}", netns::own_inode()?))
}

fn draining_name(index: u32) -> Result<String> {
    Ok(name(index)? + DRAINING)
}

fn listener_name(address: SocketAddr) -> Result<String> {
    Ok(format!("{}{LISTENER}{address}", netns::own_inode()?))
}
