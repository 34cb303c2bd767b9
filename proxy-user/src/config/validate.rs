//! Turns what was written into settings, or says what is wrong with it.
//!
//! Every refusal is one sentence that names the field, the value and the fix. Nothing is guessed
//! and nothing has a silent default: what is missing here was given its default, visibly, where
//! it was read.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::raw::RawAttach;
use super::settings::{
    Hook, InterfaceName, Mode, Ports, Rule, Settings, Upstream, UpstreamAddress,
};
use crate::address::{CidrError, UpstreamAddr};

pub(crate) mod inbound;
mod outbound;

/// How long an upstream may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may be idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// More threads than any machine has CPUs are a typing error.
const MAX_WORKERS: usize = 1024;
/// `IFNAMSIZ - 1`.
const MAX_INTERFACE_NAME: usize = 15;

/// Why a configuration is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No interface was named, or no port.
    #[error("{field} is missing; {fix}")]
    Missing {
        /// The field, as it is written.
        field: &'static str,
        /// What to write.
        fix: &'static str,
    },
    /// A value is not of the field's kind.
    #[error("{field} '{value}' is not valid; {fix}")]
    Value {
        /// The field, as it is written.
        field: &'static str,
        /// What was written.
        value: String,
        /// What to write instead.
        fix: String,
    },
    /// An address range is not valid.
    #[error("--trust: {0}")]
    Trust(#[from] CidrError),
    /// Headers are to be read, but nobody's are believed.
    #[error(
        "--inbound {mode} needs --trust: name the load balancers' addresses, such as --trust \
         10.0.0.0/8, or write --trust 0.0.0.0/0,::/0 to believe everybody"
    )]
    TrustsNobody {
        /// `require` or `optional`.
        mode: Mode,
    },
}

pub(crate) fn refuse(field: &'static str, value: &str, fix: impl Into<String>) -> Invalid {
    Invalid::Value { field, value: value.to_owned(), fix: fix.into() }
}

/// Judges a command line. Looks the upstream's name up, which can take as long as DNS does.
pub fn validate(raw: &RawAttach) -> Result<Settings, Invalid> {
    Ok(Settings {
        interfaces: interfaces(&raw.interfaces)?,
        workers: raw.workers.as_deref().map(workers).transpose()?,
        drain_timeout: duration("--drain-timeout", &raw.drain_timeout)?,
        hook: hook(&raw.hook)?,
        rules: vec![Rule {
            ports: ports(&raw.ports)?,
            inbound: inbound::inbound(raw)?,
            outbound: outbound::outbound(raw)?,
            upstream: Upstream {
                address: upstream(&raw.upstream)?,
                connect_timeout: CONNECT_TIMEOUT,
            },
            idle_timeout: IDLE_TIMEOUT,
        }],
    })
}

fn interfaces(names: &[String]) -> Result<Vec<InterfaceName>, Invalid> {
    let mut interfaces = Vec::with_capacity(names.len());
    for name in names {
        let unfit = |c: char| c == '/' || c.is_whitespace();
        if name.is_empty() || name.len() > MAX_INTERFACE_NAME || name.contains(unfit) {
            return Err(refuse("interface", name, "name one that `ip link` shows"));
        }
        let name = InterfaceName(name.clone());
        if interfaces.contains(&name) {
            return Err(refuse("interface", name.as_str(), "name each interface once"));
        }
        interfaces.push(name);
    }
    if interfaces.is_empty() {
        let fix = "name the interface that load-balancer traffic arrives on, such as eth0";
        return Err(Invalid::Missing { field: "interface", fix });
    }
    Ok(interfaces)
}

fn workers(text: &str) -> Result<NonZeroUsize, Invalid> {
    match text.parse::<NonZeroUsize>() {
        Ok(count) if count.get() <= MAX_WORKERS => Ok(count),
        _ => Err(refuse("--workers", text, format!("write a number from 1 to {MAX_WORKERS}"))),
    }
}

pub(crate) fn duration(field: &'static str, text: &str) -> Result<Duration, Invalid> {
    humantime::parse_duration(text)
        .map_err(|_| refuse(field, text, "write a time with its unit, such as 30s or 500ms"))
}

fn hook(text: &str) -> Result<Hook, Invalid> {
    match text {
        "auto" => Ok(Hook::Auto),
        "tcx" => Ok(Hook::Tcx),
        "clsact" => Ok(Hook::Clsact),
        _ => Err(refuse("--hook", text, "write auto, tcx or clsact")),
    }
}

fn ports(words: &[String]) -> Result<Ports, Invalid> {
    let mut ranges = words.iter().map(|word| port_range(word)).collect::<Result<Vec<_>, _>>()?;
    if ranges.is_empty() {
        let fix = "name the ports to protect, such as --port 80,443 or --port 8000-8010";
        return Err(Invalid::Missing { field: "--port", fix });
    }
    ranges.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u16>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start() <= last.end() => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => merged.push(range),
        }
    }
    Ok(Ports(merged))
}

fn port_range(word: &str) -> Result<RangeInclusive<u16>, Invalid> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(refuse(
            "--port",
            word,
            "write a port from 1 to 65535, or a range such as 8000-8010",
        )),
    };
    let Some((first, last)) = word.split_once('-') else {
        return port(word).map(|port| port..=port);
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(refuse(
            "--port",
            word,
            format!("write the smaller port first: {last}-{first}"),
        ));
    }
    Ok(first..=last)
}

fn upstream(text: &str) -> Result<UpstreamAddress, Invalid> {
    if text == "original" {
        return Ok(UpstreamAddress::Original);
    }
    let invalid = |fix: String| refuse("--upstream", text, fix);
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port {
        let example = "write original, or host:port such as 10.1.2.3:8080 or [fd00::1]:8080";
        return Err(invalid(example.to_owned()));
    }
    let addresses: Vec<_> = text
        .to_socket_addrs()
        .map_err(|error| invalid(format!("its address can't be found ({error})")))?
        .map(UpstreamAddr::new)
        .collect();
    if addresses.iter().map(|address| address.get()).any(unusable) {
        return Err(invalid(
            "write an address that can be connected to, and a port above 0".into(),
        ));
    }
    if addresses.is_empty() {
        return Err(invalid("the name has no address".into()));
    }
    Ok(UpstreamAddress::Fixed { name: text.to_owned(), addresses })
}

/// Addresses that name no one server.
fn unusable(address: SocketAddr) -> bool {
    address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast()
}

#[cfg(test)]
mod tests;
