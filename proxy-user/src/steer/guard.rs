//! Where the guard runs on an interface.

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
use super::refusal::{GuardUsed, Refusal};
use crate::config::settings::GuardHook;
use crate::sys::low_fds::LowFds;

/// The pause between two tries to attach where a program has just been detached.
const RETRY: Duration = Duration::from_millis(10);

/// Attaches the guard where the settings want it. [`Refusal::NoXdp`] if it can't run there.
pub fn attach_guard(
    object: &mut Object,
    interface: &NetworkInterface,
    wanted: GuardHook,
    low_fds: &mut LowFds,
    timeout: Duration,
) -> Result<(GuardUsed, Option<XdpLink>)> {
    let (used, mode) = match wanted {
        GuardHook::Native => (GuardUsed::Native, XdpMode::Driver),
        // Generic XDP copies a packet and loses the length of its Ethernet header, so TC sees the
        // packet from its IP header on.
        GuardHook::Generic => {
            object.expect_bare_packets()?;
            (GuardUsed::Generic, XdpMode::Skb)
        }
        GuardHook::Auto if interface.suits_native_xdp() => (GuardUsed::Native, XdpMode::Driver),
        GuardHook::Auto | GuardHook::Tc => return Ok((GuardUsed::Tc, None)),
    };
    match attach_xdp(object, interface, mode, low_fds, timeout) {
        Ok(link) => Ok((used, Some(link))),
        Err(error) if wanted == GuardHook::Auto => {
            let error = format!("{error:#}");
            tracing::info!(error, %interface, "no native XDP; the guard stands in TC");
            Ok((GuardUsed::Tc, None))
        }
        Err(error) => {
            let interface = interface.to_string();
            Err(Refusal::NoXdp { interface, guard: used, source: error.into() }.into())
        }
    }
}

fn attach_xdp(
    object: &mut Object,
    interface: &NetworkInterface,
    mode: XdpMode,
    low_fds: &mut LowFds,
    timeout: Duration,
) -> Result<XdpLink> {
    let program: &mut Xdp = object.program(names::GUARD)?;
    low_fds.release_one();
    let mut attach = || Ok(program.attach_to_if_index(interface.index(), mode)?);
    let id = retry_while_busy(timeout, &mut attach)?;
    Ok(program.take_link(id)?)
}

/// Retries while the place of a program that was just detached is still taken: the kernel removes a
/// link a little after its last file is closed, whether by a dead process or by us.
pub fn retry_while_busy<T>(timeout: Duration, attempt: &mut dyn FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        let result = attempt();
        match &result {
            Err(error) if is_busy(error) && Instant::now() < deadline => sleep(RETRY),
            _ => return result,
        }
    }
}

fn is_busy(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| {
        let number = cause.raw_os_error().map(Errno::from_raw);
        matches!(number, Some(Errno::EBUSY | Errno::EEXIST))
    })
}
