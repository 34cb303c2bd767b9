//! The guard's place on an interface, and what takes its time to be free again.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use aya::programs::xdp::XdpLink;
use aya::programs::{Xdp, XdpMode};
use nix::errno::Errno;
use proxy_common::names;

use super::interface::NetworkInterface;
use super::object::Object;
use crate::config::settings::GuardHook;
use crate::sys::low_fds::LowFds;

/// How often it is tried to have a place that somebody has just left.
const RETRY: Duration = Duration::from_millis(10);

/// Where the guard stands on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardUsed {
    /// In the driver.
    Native,
    /// In the kernel's generic XDP.
    Generic,
    /// In steer.
    Tc,
}

impl GuardUsed {
    /// In words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Native => "native XDP",
            Self::Generic => "generic XDP",
            Self::Tc => "in TC",
        }
    }
}

/// Puts the guard where it was asked for, or says why it can't stand there.
pub fn attach_guard(
    object: &mut Object,
    interface: &NetworkInterface,
    wanted: GuardHook,
    low_fds: &mut LowFds,
    patience: Duration,
) -> Result<(GuardUsed, Option<XdpLink>)> {
    let (used, mode) = match wanted {
        GuardHook::Native => (GuardUsed::Native, XdpMode::Driver),
        // The kernel copies a packet for it and forgets how long its Ethernet header is, so that TC
        // sees the packet from its IP header on.
        GuardHook::Generic => {
            object.expect_bare_packets()?;
            (GuardUsed::Generic, XdpMode::Skb)
        }
        GuardHook::Auto if interface.suits_native_xdp() => (GuardUsed::Native, XdpMode::Driver),
        GuardHook::Auto | GuardHook::Tc => return Ok((GuardUsed::Tc, None)),
    };
    match attach_xdp(object, interface, mode, low_fds, patience) {
        Ok(link) => Ok((used, Some(link))),
        Err(error) if wanted == GuardHook::Auto => {
            let error = format!("{error:#}");
            tracing::info!(error, %interface, "no native XDP; the guard stands in TC");
            Ok((GuardUsed::Tc, None))
        }
        Err(error) => Err(error.context(format!(
            "no {} on {interface}; leave --guard-hook out, or write --guard-hook tc",
            used.describe()
        ))),
    }
}

fn attach_xdp(
    object: &mut Object,
    interface: &NetworkInterface,
    mode: XdpMode,
    low_fds: &mut LowFds,
    patience: Duration,
) -> Result<XdpLink> {
    let program: &mut Xdp = object.program(names::GUARD)?;
    low_fds.release_one();
    let mut attach = || Ok(program.attach_to_if_index(interface.index(), mode)?);
    let id = retry_while_busy(patience, &mut attach)?;
    Ok(program.take_link(id)?)
}

/// Does what needs a place that somebody has just left: the kernel takes a link away a little after
/// its last file is closed, be it a dead process's or our own.
pub fn retry_while_busy<T>(
    patience: Duration,
    attempt: &mut dyn FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        let result = attempt();
        match &result {
            Err(error) if is_taken(error) && Instant::now() < deadline => sleep(RETRY),
            _ => return result,
        }
    }
}

fn is_taken(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| {
        let number = cause.raw_os_error().map(Errno::from_raw);
        matches!(number, Some(Errno::EBUSY | Errno::EEXIST))
    })
}
