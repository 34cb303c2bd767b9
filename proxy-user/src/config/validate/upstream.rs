//! Where connections go, and whose address is seen there.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::{Invalid, RawAttach, refuse};
use crate::address::UpstreamAddr;
use crate::config::settings::{Source, Upstream, UpstreamAddress};

/// How long an upstream may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn upstream(raw: &RawAttach) -> Result<Upstream, Invalid> {
    let address = address(&raw.upstream)?;
    let source = source(&raw.source)?;
    if source == Source::Client && reaches_loopback(&address) {
        let fix = "write an address of the node's: a client's address never gets to loopback";
        return Err(refuse("--upstream", &raw.upstream, fix));
    }
    Ok(Upstream { address, source, connect_timeout: CONNECT_TIMEOUT })
}

fn source(text: &str) -> Result<Source, Invalid> {
    match text {
        "node" => Ok(Source::Node),
        "client" => Ok(Source::Client),
        _ => Err(refuse("--source", text, "write node or client")),
    }
}

fn reaches_loopback(address: &UpstreamAddress) -> bool {
    match address {
        UpstreamAddress::Original => false,
        UpstreamAddress::Fixed { addresses, .. } => {
            addresses.iter().any(|address| address.get().ip().is_loopback())
        }
    }
}

pub(super) fn address(text: &str) -> Result<UpstreamAddress, Invalid> {
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
