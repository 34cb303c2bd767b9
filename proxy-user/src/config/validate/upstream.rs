//! Where connections go, and whose address is seen there.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::{Invalid, some_time};
use crate::address::{SourceAddr, UpstreamAddr};
use crate::config::field::{self, At, Field};
use crate::config::raw::RawUpstream;
use crate::config::settings::{Source, Upstream, UpstreamAddress};
use crate::config::word::Word;

/// Each may be tried for one connection, when all ports of those before it are taken.
const MAX_SOURCE_ADDRESSES: usize = 16;

pub(super) fn upstream(at: At<'_>, raw: &RawUpstream) -> Result<Upstream, Invalid> {
    let address = address(at, &raw.address)?;
    let source = source(at, &raw.source)?;
    if source == Source::Client && reaches_loopback(&address) {
        let fix = "write an address of the node's: a client's address never gets to loopback";
        return Err(at.refuse(field::UPSTREAM, &raw.address, fix));
    }
    let connect_timeout = some_time(at, field::CONNECT_TIMEOUT, &raw.connect_timeout)?;
    let source_addresses = source_addresses(at, &raw.source_addresses, source, &address)?;
    Ok(Upstream { address, source, source_addresses, connect_timeout, fast_open: raw.fast_open })
}

/// Whether they are this node's is no matter of words: they may come later.
fn source_addresses(
    at: At<'_>,
    words: &[Word],
    source: Source,
    upstream: &UpstreamAddress,
) -> Result<Vec<SourceAddr>, Invalid> {
    const FIELD: Field = field::SOURCE_ADDRESSES;
    let mut addresses = Vec::new();
    for word in words {
        let refuse = |fix: String| Err(at.refuse(FIELD, word, fix));
        if source == Source::Client {
            let node = at.write(field::SOURCE, "node");
            return refuse(format!("leave it out, or write {node}: upstreams see the client's"));
        }
        let ip = word.parse::<IpAddr>().map(|ip| ip.to_canonical());
        let is_one = |ip: &IpAddr| !(ip.is_unspecified() || ip.is_multicast() || is_broadcast(*ip));
        let Some(address) = ip.ok().filter(is_one).map(SourceAddr::new) else {
            return refuse(
                "write an address of this node's, such as 10.1.2.3 or fd00::3".to_owned(),
            );
        };
        if addresses.contains(&address) {
            return refuse("it is named twice; leave one of them out".to_owned());
        }
        if let UpstreamAddress::Fixed { name, addresses } = upstream
            && !addresses.iter().any(|upstream| address.suits(*upstream))
        {
            let family = if address.get().is_ipv4() { "IPv4" } else { "IPv6" };
            return refuse(format!(
                "leave it out, or name one of the upstream's family: {name} has no {family} address"
            ));
        }
        addresses.push(address);
        if addresses.len() > MAX_SOURCE_ADDRESSES {
            return refuse(format!("name {MAX_SOURCE_ADDRESSES} at most"));
        }
    }
    Ok(addresses)
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

fn source(at: At<'_>, word: &Word) -> Result<Source, Invalid> {
    match &**word {
        "node" => Ok(Source::Node),
        "client" => Ok(Source::Client),
        _ => Err(at.refuse(field::SOURCE, word, "write node or client")),
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

pub(super) fn address(at: At<'_>, word: &Word) -> Result<UpstreamAddress, Invalid> {
    let text = &**word;
    if text == "original" {
        return Ok(UpstreamAddress::Original);
    }
    let invalid = |fix: String| at.refuse(field::UPSTREAM, word, fix);
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
