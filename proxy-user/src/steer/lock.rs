//! The right to steer an interface, and how it is handed over.
//!
//! A lock is a locked [file](file) in a [directory](directory) that only root can write to; the kernel
//! releases it when its process ends. Its name has the network namespace and the interface index,
//! since an index means something in its namespace only. The owner listens at its [socket](socket), and
//! a successor [asks](predecessor) for the lock there.

pub mod directory;
mod file;
mod predecessor;
mod protocol;
mod socket;

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use self::file::{FileLock, is_taken};
pub use self::file::{Owner, sweep};
pub use self::predecessor::{Predecessor, PredecessorState};
pub use self::protocol::Request;
pub use self::socket::{Successor, SuccessorSender, TakeoverSocket};
use super::interface::NetworkInterface;
use super::refusal::Refusal;
use crate::sys::netns;

/// How long a sweep may have a lock.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause between two tries.
const RETRY: Duration = Duration::from_millis(10);
/// What the name of a draining lock ends with.
const DRAINING: &str = "-draining";
/// What separates network namespace and address in the name of a listener's lock.
const LISTENER: &str = "-http-";
/// What the name of a process's own lock begins with. Its socket is named after it.
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

    /// Takes a lock that is about to be released, by a sweep or by its owner; `None` if it isn't in
    /// time.
    pub fn await_free(
        interface: &NetworkInterface,
        by: &TakeoverSocket,
        timeout: Duration,
    ) -> Result<Option<Self>> {
        let deadline = Instant::now() + timeout;
        loop {
            let lock = Self::try_take(interface, by)?;
            if lock.is_some() || Instant::now() >= deadline {
                return Ok(lock);
            }
            sleep(RETRY);
        }
    }

    /// Takes a lock that should be free. [`Refusal::AlreadySteered`] if it isn't.
    pub fn take(interface: &NetworkInterface, by: &TakeoverSocket) -> Result<Self> {
        if let Some(lock) = Self::try_take(interface, by)? {
            return Ok(lock);
        }
        let owner = owner(interface.index())?;
        if owner.as_ref().is_none_or(|owner| owner.socket.is_none())
            && let Some(lock) = Self::await_free(interface, by, SWEEP_TIMEOUT)?
        {
            return Ok(lock);
        }
        let (interface, pid) = (interface.to_string(), owner.map_or(0, |owner| owner.pid));
        Err(Refusal::AlreadySteered { interface, pid }.into())
    }
}

/// Keeps others from taking an interface's lock as long as the result lives, to remove what dead
/// instances have left; `None` if somebody has the lock, or drains there.
pub fn exclude_others(index: u32) -> Option<impl Sized> {
    let kept = FileLock::try_take(&name(index).ok()?, None).ok()??;
    (!is_draining(index)).then_some(kept)
}

/// Says that a process which has handed its interface over still steers its own connections there, so
/// that filters with our names may belong to a living process. Several processes can have it.
#[derive(Debug)]
pub struct DrainingLock {
    _file: FileLock,
}

impl DrainingLock {
    /// Takes it; `None` if that fails.
    pub fn take(index: u32) -> Option<Self> {
        let take = || FileLock::try_share(&draining_name(index)?);
        match take() {
            Ok(file) => file.map(|file| Self { _file: file }),
            Err(error) => {
                tracing::warn!(error = %format!("{error:#}"), "cannot say that we are draining");
                None
            }
        }
    }
}

/// Whether a process that has handed the interface over is still draining. If that can't be seen, it
/// may be.
pub fn is_draining(index: u32) -> bool {
    draining_name(index).and_then(|name| is_taken(&name)).unwrap_or(true)
}

/// Who has the lock of the interface with this index.
pub fn owner(index: u32) -> Result<Option<Owner>> {
    file::owner(&name(index)?)
}

/// The process that has the lock of the interface with this index; 0 if it is in another pid
/// namespace.
pub fn holder(index: u32) -> Result<Option<i32>> {
    Ok(owner(index)?.map(|owner| owner.pid))
}

/// Says that this process listens for HTTP at an address, so that a successor knows whom to ask.
#[derive(Debug)]
pub struct ListenerLock {
    _file: FileLock,
}

impl ListenerLock {
    /// Takes it; `None` if another instance has it.
    pub fn take(address: SocketAddr, by: &TakeoverSocket) -> Result<Option<Self>> {
        let file = FileLock::try_take(&listener_name(address)?, Some(by.name()))?;
        Ok(file.map(|file| Self { _file: file }))
    }
}

/// The instance that listens at this address, if one does.
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
