//! What a configuration asks for and this node, as it is now, will not give. Said at the start,
//! so that nobody has to conclude it from time-outs.

use std::collections::BTreeMap;

use super::attachment::Attachment;
use super::netlink::{self, LOOPBACK};
use super::sysctl;
use crate::address::UpstreamAddr;
use crate::config::Settings;
use crate::config::settings::{Source, UpstreamAddress};

/// A sentence for each thing that will not work.
pub fn on(settings: &Settings, attachments: &BTreeMap<u32, Attachment>) -> Vec<String> {
    let mut advice = Vec::new();
    let shows_clients = settings.rules.iter().filter(|r| r.upstream.source == Source::Client);
    for rule in shows_clients {
        if advice.is_empty() && sysctl::get("ipv4/conf/all/rp_filter").as_deref() == Some("1") {
            advice.push(
                "net.ipv4.conf.all.rp_filter is 1, so that servers on this node can't see IPv4 \
                 clients (--source client); set it to 2 or 0, for which the cards have their own"
                    .to_owned(),
            );
        }
        if let UpstreamAddress::Fixed { addresses, .. } = &rule.upstream.address {
            advice.extend(addresses.iter().filter_map(|upstream| on_way(*upstream, attachments)));
        }
    }
    advice
}

/// Whether an upstream's answers to clients can be expected where we look for them.
fn on_way(upstream: UpstreamAddr, attachments: &BTreeMap<u32, Attachment>) -> Option<String> {
    let to = upstream.get().ip();
    let way = netlink::here(async |handle| netlink::way_to(&handle, to).await);
    let Ok(Some(way)) = way else {
        return Some(format!("there is no route to the upstream {upstream}"));
    };
    // What is local is caught on its way out to the client.
    if way == LOOPBACK || attachments.contains_key(&way) {
        return None;
    }
    let names = netlink::here(async |handle| netlink::links(&handle).await).unwrap_or_default();
    let name = names.iter().find(|link| link.index == way).map_or("?", |link| link.name.as_str());
    Some(format!(
        "the upstream {upstream} is reached by {name}, where its answers to clients are not looked \
         for; write --upstream-interface {name}, or its connections end with upstream-timeout"
    ))
}
