//! What a configuration asks for and this node, as it is now, will not give. Said at the start and
//! by the doctor, so that nobody has to conclude it from time-outs.

use std::fmt;
use std::io::ErrorKind;
use std::net::UdpSocket;

use super::netlink::{self, LOOPBACK, Link};
use crate::address::{SourceAddr, UpstreamAddr};
use crate::config::Names;
use crate::config::field::{Syntax, field};
use crate::config::settings::{Outbound, Rule};
use crate::sys::sysctl;

/// Something that will not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.mend)
    }
}

/// What the node's reverse-path filter keeps from the rules.
pub fn on_filter(rules: &[Rule]) -> Option<Advice> {
    let is_strict =
        || matches!(sysctl::read("net/ipv4/conf/all/rp_filter"), Ok(Some(value)) if value == "1");
    (rules.iter().any(Rule::shows_clients) && is_strict()).then(|| Advice {
        what: "net.ipv4.conf.all.rp_filter is 1, so that servers on this node can't see IPv4 \
               clients (--source client)"
            .to_owned(),
        mend: "set it to 2 or 0; each interface has its own".to_owned(),
    })
}

/// The rules under which anybody may connect: where a firewall kept somebody out, it no longer does.
pub fn on_firewalls(rules: &[Rule], at: Syntax) -> Option<Advice> {
    let open = rules.iter().filter(|rule| rule.admits_anybody());
    let open: Vec<_> = open.map(|rule| rule.name.as_str()).collect();
    let [trusted, untrusted] =
        [at.name(field!(rule.inbound.trusted)), at.write(field!(rule.inbound.untrusted), "refuse")];
    (!open.is_empty()).then(|| Advice {
        what: format!(
            "rule {} lets anybody connect: neither this host's firewall nor a NetworkPolicy sees \
             what is steered",
            open.join(", ")
        ),
        mend: format!(
            "if one of them is meant to keep somebody out, name who may connect ({trusted}, {untrusted})"
        ),
    })
}

/// Rules whose own words make headers that may not fit one segment, whatever is passed on.
pub fn on_long_headers(rules: &[Rule], at: Syntax) -> Vec<Advice> {
    const ONE_SEGMENT: usize = Outbound::ONE_SEGMENT;
    let field = at.name(field!(rule.outbound.tlvs.add));
    let lengths = rules.iter().filter_map(|rule| Some((rule, rule.outbound.own_length().ok()?)));
    lengths
        .filter(|(_, length)| *length > ONE_SEGMENT)
        .map(|(rule, length)| Advice {
            what: format!(
                "rule {}: the header that its upstream gets has up to {length} bytes before any TLV is \
                 passed on, and only {ONE_SEGMENT} are sure to arrive in one segment, as some \
                 receivers expect",
                rule.name
            ),
            mend: format!("shorten what is added ({field})"),
        })
        .collect()
}

/// Upstreams whose answers to clients can't be expected where we look for them. `is_watched` says
/// of which interfaces, by index, we do.
pub fn on_upstreams(
    rules: &[Rule],
    names: &Names,
    at: Syntax,
    is_watched: impl Fn(u32) -> bool,
) -> Vec<Advice> {
    let links = netlink::run(async |handle| netlink::links(&handle).await).unwrap_or_default();
    let upstreams = rules.iter().filter(|rule| rule.shows_clients());
    let upstreams = upstreams.flat_map(|rule| names.addresses(&rule.upstream.address));
    upstreams.filter_map(|upstream| on_way(*upstream, at, &links, &is_watched)).collect()
}

/// Addresses that connections are to be made from, and that are not this node's.
pub fn on_source_addresses(rules: &[Rule], at: Syntax) -> Vec<Advice> {
    let is_missing = |address: &&SourceAddr| {
        let bound = UdpSocket::bind((address.get(), 0));
        matches!(bound, Err(error) if error.kind() == ErrorKind::AddrNotAvailable)
    };
    let missing = rules.iter().flat_map(|rule| {
        let addresses = &rule.upstream.source_addresses;
        addresses.iter().filter(is_missing).map(move |address| (rule, address))
    });
    let field = at.name(field!(rule.upstream.source_addresses));
    missing
        .map(|(rule, address)| Advice {
            what: format!(
                "rule {}: {address} is not an address of this node, so no connection is made from it",
                rule.name
            ),
            mend: format!("add it to an interface (ip address add), or take it out of {field}"),
        })
        .collect()
}

fn on_way(
    upstream: UpstreamAddr,
    at: Syntax,
    links: &[Link],
    is_watched: impl Fn(u32) -> bool,
) -> Option<Advice> {
    let to = upstream.get().ip();
    let way = netlink::run(async |handle| netlink::routes::output_interface(&handle, to).await);
    let Ok(Some(way)) = way else {
        return Some(Advice {
            what: format!("there is no route to the upstream {upstream}"),
            mend: "add one, or name an address that this node can reach".to_owned(),
        });
    };
    // What is local is caught on its way out to the client.
    if way == LOOPBACK || is_watched(way) {
        return None;
    }
    let name = links.iter().find(|link| link.index == way).map_or("?", |link| link.name.as_str());
    let fix = at.write(field!(upstream_interfaces), name);
    Some(Advice {
        what: format!(
            "the upstream {upstream} is reached by {name}, where its answers to clients are not \
             looked for"
        ),
        mend: format!("write {fix}, or its connections end with upstream-timeout"),
    })
}
