//! Interfaces, and the two ways of attaching to their TC ingress.

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use anyhow::{Context as _, Result, bail};
use aya::programs::tc::{
    NlOptions, TcAttachOptions, TcError, qdisc_add_clsact, qdisc_detach_program,
};
use aya::programs::{LinkOrder, TcAttachType};
use aya::util::KernelVersion;
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use proxy_common::names::STEER;

use super::netlink::{self, LOOPBACK, Link};
use crate::config::settings::{Hook, InterfaceName};

/// Our filter's priority on clsact: early, with room before it for a successor.
const CLSACT_PRIORITY: u16 = 20;

/// The first kernel with tcx.
const TCX_SINCE: KernelVersion = KernelVersion::new(6, 6, 0);

/// An interface that was there when we looked.
#[derive(Clone, Debug)]
pub struct NetworkInterface(Link);

impl NetworkInterface {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its MTU, in bytes.
    pub fn mtu(&self) -> u32 {
        self.0.mtu
    }

    /// Whether it is `lo`.
    pub fn is_loopback(&self) -> bool {
        self.0.index == LOOPBACK
    }
}

impl fmt::Display for NetworkInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.name.fmt(f)
    }
}

/// Finds each interface, or says which ones there are instead.
pub fn find(names: &[InterfaceName]) -> Result<Vec<NetworkInterface>> {
    let links = netlink::here(async |handle| netlink::links(&handle).await)?;
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let Some(link) = links.iter().find(|link| link.name == name.as_str()) else {
            let there: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
            bail!("there is no interface '{name}'; there is {}", there.join(", "));
        };
        found.push(NetworkInterface(link.clone()));
    }
    Ok(found)
}

/// The right to steer an interface: an abstract socket, of which the kernel allows one of a name
/// in a network namespace, and which ends with its process.
#[derive(Debug)]
pub struct InterfaceLock {
    _socket: UnixListener,
}

impl InterfaceLock {
    /// Takes it, and clears away a filter that a dead holder left.
    pub fn take(interface: &NetworkInterface) -> Result<Self> {
        let address = lock_address(interface)?;
        let socket = match UnixListener::bind_addr(&address) {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let holder = holder(&address).map_or(String::new(), |pid| format!(" (pid {pid})"));
                bail!(
                    "{interface} is already steered by another Foreword{holder}; stop that one first"
                );
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot lock {interface}"));
            }
        };
        remove_stale_filter(interface.name());
        Ok(Self { _socket: socket })
    }
}

/// The name of an interface's lock.
fn lock_address(interface: &NetworkInterface) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("foreword/{}", interface.0.index))
}

/// The process that listens on the socket.
fn holder(address: &SocketAddr) -> Option<i32> {
    let stream = UnixStream::connect_addr(address).ok()?;
    Some(getsockopt(&stream, PeerCredentials).ok()?.pid())
}

/// Removes a clsact filter of ours, and the qdisc with it if it was the last one there; says
/// whether there was one. Only for whoever holds the interface's lock: no living process has such
/// a filter then.
fn remove_stale_filter(interface: &str) -> bool {
    let removed = qdisc_detach_program(interface, TcAttachType::Ingress, STEER).is_ok();
    if removed {
        remove_unused_clsact(interface);
    }
    removed
}

/// Removes the filters that dead instances left, and returns the interfaces that had one.
pub fn sweep() -> Result<Vec<String>> {
    // A lock is tried only where there is something to sweep: another instance may be about to
    // take it for good.
    let filtered = netlink::here(async |handle| {
        let mut filtered = Vec::new();
        for link in netlink::links(&handle).await? {
            if netlink::has_ingress_filter(&handle, &link).await? {
                filtered.push(NetworkInterface(link));
            }
        }
        Ok(filtered)
    })?;
    let mut swept = Vec::new();
    for interface in filtered {
        let Ok(_lock) = UnixListener::bind_addr(&lock_address(&interface)?) else { continue };
        if remove_stale_filter(interface.name()) {
            swept.push(interface.0.name);
        }
    }
    Ok(swept)
}

/// How we are attached to TC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookUsed {
    /// tcx links, before all others.
    Tcx,
    /// Filters on clsact.
    Clsact,
}

impl HookUsed {
    /// What was asked for, or the best that this kernel has.
    pub fn choose(wanted: Hook) -> Result<Self> {
        let has_tcx = KernelVersion::current().is_ok_and(|kernel| kernel >= TCX_SINCE);
        match wanted {
            Hook::Tcx if !has_tcx => {
                bail!("--hook tcx needs Linux 6.6 or newer; leave it out, or write --hook clsact")
            }
            Hook::Tcx | Hook::Auto if has_tcx => Ok(Self::Tcx),
            Hook::Clsact | Hook::Tcx | Hook::Auto => Ok(Self::Clsact),
        }
    }

    /// The way to attach by it.
    pub fn options(self) -> TcAttachOptions {
        match self {
            Self::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
            Self::Clsact => TcAttachOptions::Netlink(NlOptions {
                priority: CLSACT_PRIORITY,
                ..NlOptions::default()
            }),
        }
    }
}

impl fmt::Display for HookUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        })
    }
}

/// A clsact qdisc that we added; dropping it removes it, unless others use it by then.
#[derive(Debug)]
pub struct Clsact {
    interface: String,
}

impl Clsact {
    /// Sees to it that the interface has one; `None` if it had.
    pub fn add(interface: &str) -> Result<Option<Self>> {
        match qdisc_add_clsact(interface) {
            Ok(()) => Ok(Some(Self { interface: interface.to_owned() })),
            Err(error) if is_already_there(&error) => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("cannot add a clsact qdisc to {interface}"))
            }
        }
    }
}

fn is_already_there(error: &TcError) -> bool {
    match error {
        TcError::AlreadyAttached => true,
        TcError::NetlinkError(error) => error.raw_os_error() == Some(Errno::EEXIST as i32),
        _ => false,
    }
}

impl Drop for Clsact {
    fn drop(&mut self) {
        remove_unused_clsact(&self.interface);
    }
}

/// An empty qdisc does nothing, so failing to remove it is worth a line and no more.
fn remove_unused_clsact(interface: &str) {
    let removed =
        netlink::here(async |handle| netlink::remove_unused_clsact(&handle, interface).await);
    if let Err(error) = removed {
        tracing::warn!(error = %format!("{error:#}"), interface, "a clsact qdisc was left behind");
    }
}
