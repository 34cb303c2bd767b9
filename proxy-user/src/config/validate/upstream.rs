//! Where connections go, and whose address is seen there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use super::scope::Scope;
use super::steering::MAX_INTERFACE_NAME;
use super::{duration, positive_duration};
use crate::address::{SourceAddr, UpstreamAddr};
use crate::config::field::{Field, field};
use crate::config::invalid::Invalid;
use crate::config::raw::RawUpstream;
use crate::config::settings::{Resolve, Source, Unfit, Upstream, UpstreamAddress, UpstreamName};
use crate::config::value::RawValue;

/// Each may be tried for one connection, when all ports of those before it are taken.
const MAX_SOURCE_ADDRESSES: usize = 16;
/// What DNS allows.
const LONGEST_HOST: usize = 253;
/// More often is a flood of questions, and no answer may be kept for less.
const SHORTEST_RESOLVE: Duration = Duration::from_secs(1);

pub(super) fn upstream(scope: Scope<'_>, raw: &RawUpstream) -> Result<Upstream, Invalid> {
    let mut upstream = Upstream {
        address: address(scope, &raw.address)?,
        resolve: resolve(scope, &raw.resolve)?,
        source: scope.choice(field!(rule.upstream.source), &raw.source)?,
        source_addresses: Vec::new(),
        when_down: scope.choice(field!(rule.upstream.when_down), &raw.when_down)?,
        connect_timeout: positive_duration(
            scope,
            field!(rule.upstream.connect_timeout),
            &raw.connect_timeout,
        )?,
        fast_open: raw.fast_open,
    };
    if let UpstreamAddress::Fixed(address) = &upstream.address {
        let unfit = |unfit: Unfit| {
            scope.refuse(field!(rule.upstream.address), &raw.address, unfit.to_string())
        };
        upstream.judge(&[address.get()]).map_err(unfit)?;
    }
    upstream.source_addresses = source_addresses(scope, &raw.source_addresses, upstream.source)?;
    if let UpstreamAddress::Fixed(address) = upstream.address {
        require_suitable_sources(scope, raw, &upstream, &[address])?;
    }
    Ok(upstream)
}

/// Whether they are this node's is not checked here: they may be added later.
fn source_addresses(
    scope: Scope<'_>,
    values: &[RawValue],
    source: Source,
) -> Result<Vec<SourceAddr>, Invalid> {
    const FIELD: Field = field!(rule.upstream.source_addresses);
    let mut addresses = Vec::new();
    for value in values {
        let refuse = |fix: String| Err(scope.refuse(FIELD, value, fix));
        if source == Source::Client {
            let node = scope.write(field!(rule.upstream.source), "node");
            return refuse(format!("leave it out, or write {node}: upstreams see the client's"));
        }
        let ip = value.parse::<IpAddr>().map(|ip| ip.to_canonical());
        let is_one = |ip: &IpAddr| !(ip.is_unspecified() || ip.is_multicast() || is_broadcast(*ip));
        let Some(address) = ip.ok().filter(is_one).map(SourceAddr::new) else {
            return refuse(
                "write an address of this node's, such as 10.1.2.3 or fd00::3".to_owned(),
            );
        };
        if addresses.contains(&address) {
            return refuse("it is named twice; leave one of them out".to_owned());
        }
        addresses.push(address);
        if addresses.len() > MAX_SOURCE_ADDRESSES {
            return refuse(format!("name {MAX_SOURCE_ADDRESSES} at most"));
        }
    }
    Ok(addresses)
}

/// Refuses a source address from which no address of the upstream's could be connected to.
pub(super) fn require_suitable_sources(
    scope: Scope<'_>,
    raw: &RawUpstream,
    upstream: &Upstream,
    addresses: &[UpstreamAddr],
) -> Result<(), Invalid> {
    for (value, source) in raw.source_addresses.iter().zip(&upstream.source_addresses) {
        if !addresses.iter().any(|address| source.suits(*address)) {
            let family = if source.get().is_ipv4() { "IPv4" } else { "IPv6" };
            let name = &upstream.address;
            let fix = format!(
                "leave it out, or name one of the upstream's family: {name} has no {family} address"
            );
            return Err(scope.refuse(field!(rule.upstream.source_addresses), value, fix));
        }
    }
    Ok(())
}

fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

fn resolve(scope: Scope<'_>, value: &RawValue) -> Result<Resolve, Invalid> {
    let fix = "write once, or a time of 1s or more, such as 30s";
    match &**value {
        "once" => Ok(Resolve::Once),
        _ => match duration(scope, field!(rule.upstream.resolve), value) {
            Ok(time) if time >= SHORTEST_RESOLVE => Ok(Resolve::Every(time)),
            _ => Err(scope.refuse(field!(rule.upstream.resolve), value, fix)),
        },
    }
}

/// By its text alone: names are looked up elsewhere.
fn address(scope: Scope<'_>, value: &RawValue) -> Result<UpstreamAddress, Invalid> {
    let text = &**value;
    if text == "original" {
        return Ok(UpstreamAddress::Original);
    }
    let invalid = |fix: String| Err(scope.refuse(field!(rule.upstream.address), value, fix));
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let split = text.rsplit_once(':').filter(|(_, port)| is_port(port));
    let Some((host, Ok(port))) = split.map(|(host, port)| (host, port.parse::<u16>())) else {
        let example = "write original, or host:port such as 10.1.2.3:8080 or [fd00::1]:8080";
        return invalid(example.to_owned());
    };
    if port == 0 {
        return invalid("write a port above 0".to_owned());
    }
    let meant = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => ipv6(host, port),
        None if is_ipv6(host) => Err(format!("write it in brackets: [{host}]:{port}")),
        None => ipv4_or_name(host, port),
    };
    meant.or_else(invalid)
}

fn is_ipv6(host: &str) -> bool {
    host.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// What stands in brackets.
fn ipv6(host: &str, port: u16) -> Result<UpstreamAddress, String> {
    let (address, interface) = match host.split_once('%') {
        Some((address, interface)) => (address, Some(interface)),
        None => (host, None),
    };
    let Ok(ip) = address.parse::<Ipv6Addr>() else {
        return Err("write an IPv6 address in the brackets, such as [fd00::1]:8080".to_owned());
    };
    let unfit = |c: char| c == '/' || c == '%' || c.is_whitespace();
    match (ip.is_unicast_link_local(), interface) {
        (true, Some(name))
            if !name.is_empty() && name.len() <= MAX_INTERFACE_NAME && !name.contains(unfit) =>
        {
            Ok(UpstreamAddress::Named(UpstreamName::new(format!("{ip}%{name}"), port)))
        }
        (true, _) => Err(format!(
            "it is a link-local address; write the interface that it is on, such as \
             [{ip}%eth0]:{port}"
        )),
        (false, Some(name)) => Err(format!(
            "leave %{name} out: only a link-local address (fe80::/10) is one of an interface"
        )),
        (false, None) => {
            let address = SocketAddr::V6(SocketAddrV6::new(ip, port, 0, 0));
            Ok(UpstreamAddress::Fixed(UpstreamAddr::new(address)))
        }
    }
}

fn ipv4_or_name(host: &str, port: u16) -> Result<UpstreamAddress, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(UpstreamAddress::Fixed(UpstreamAddr::new(SocketAddr::new(ip, port))));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if host.is_empty() || host.len() > LONGEST_HOST || !host.chars().all(fits) {
        return Err("write a host's name of letters, digits, - _ and ., or its address".to_owned());
    }
    // Others read 127.1 and 010.0.0.1 as addresses, and each as another one.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        return Err("write an IPv4 address in full and in decimal, such as 10.1.2.3".to_owned());
    }
    Ok(UpstreamAddress::Named(UpstreamName::new(host.to_owned(), port)))
}
