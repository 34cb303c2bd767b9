//! Every address that a node's clients may aim at, past everything that a node may have in the
//! way: kube-proxy's rules in both forms, a firewall that drops, reverse-path filters, forwarding
//! that is off. And past all of it nothing of the node's own is changed, or even used: connection
//! tracking never hears of a steered connection.

use std::net::SocketAddr;
use std::time::Duration;

use netlab::{Backend, Client, Family, Netns, OFF, Site, SiteAddresses, echo, output_of, site};

use crate::FOREWORD;
use crate::footprint::{NodeState, filter_rules};
use crate::probe::assert_peer_is_named;
use crate::rules::{Form, NODE_PORT, SERVICE_PORT, TARGET_PORT};

/// Servers for everything that a client of the site can aim at.
struct Servers {
    /// At the node's own address.
    _node: Backend,
    /// At the VIP, and at pod 0's own address.
    _pod: [Backend; 2],
    /// What the service's three addresses lead to.
    endpoints: [Backend; 2],
}

impl Servers {
    fn start(site: &Site, family: Family) -> Self {
        let at = SiteAddresses::of(family);
        let serve = |netns, address, port| Backend::start(netns, (address, port).into(), echo);
        Self {
            _node: serve(&site.node, at.nics[0], SERVICE_PORT),
            _pod: [at.vip, at.pods[0]].map(|ip| serve(&site.pods[0], ip, SERVICE_PORT)),
            endpoints: [0, 1].map(|n| serve(&site.pods[n], at.pods[n], TARGET_PORT)),
        }
    }
}

/// Served where they point to: on the node, and in a pod by two addresses.
fn plain_destinations(family: Family) -> [SocketAddr; 3] {
    let at = SiteAddresses::of(family);
    [at.nics[0], at.vip, at.pods[0]].map(|ip| (ip, SERVICE_PORT).into())
}

/// Led to the pods by kube-proxy: node port, load balancer's address, cluster address.
fn service_destinations(family: Family) -> [SocketAddr; 3] {
    let at = SiteAddresses::of(family);
    [(at.nics[0], NODE_PORT), (at.load_balancer, SERVICE_PORT), (at.cluster, SERVICE_PORT)]
        .map(SocketAddr::from)
}

fn flags() -> String {
    format!("eth0 eth1 --port {SERVICE_PORT},{NODE_PORT} {OFF} --outbound v1")
}

#[apply(both_families)]
fn each_is_reached_past_iptables(family: Family) {
    assert_each_is_reached(Form::Iptables, family);
}

#[apply(both_families)]
fn each_is_reached_past_nftables(family: Family) {
    assert_each_is_reached(Form::Nftables, family);
}

/// All combinations of the settings that other proxies need to be one way or the other.
fn assert_each_is_reached(form: Form, family: Family) {
    let site = site();
    let _servers = Servers::start(&site, family);
    form.install_kube_proxy(&site, family);
    form.install_firewall(&site, family);
    for destination in plain_destinations(family) {
        assert_blocked(&site, family, destination);
    }
    for forwarding in ["1", "0"] {
        set_forwarding(&site.node, forwarding);
        let before = NodeState::of(&site.node);
        let rules = filter_rules(&site.node);
        let mut foreword = FOREWORD.attach(&site.node, &flags());
        // The last of them is what a site begins with, and so what is there to be restored.
        for reverse_path in ["1", "2", "0"] {
            for source_mark in ["1", "0"] {
                set_filters(&site.node, reverse_path, source_mark);
                assert_each_names_its_client(&site, family);
            }
        }
        assert_eq!(filter_rules(&site.node), rules, "rules are as they were, while attached");
        assert_untracked(&site, family);
        foreword.terminate().expect("it ends after SIGTERM");
        before.assert_restored(&site.node);
    }
}

fn assert_each_names_its_client(site: &Site, family: Family) {
    let client = SiteAddresses::of(family).client;
    for destination in plain_destinations(family).into_iter().chain(service_destinations(family)) {
        assert_peer_is_named(&site.client, client, destination);
    }
}

/// The firewall means it: without Foreword, no way leads there.
fn assert_blocked(site: &Site, family: Family, destination: SocketAddr) {
    let client = SiteAddresses::of(family).client;
    let patience = Duration::from_millis(300);
    let attempt = Client::try_connect_within(&site.client, client, destination, patience);
    assert!(attempt.is_err(), "{destination} is open");
}

/// Before attaching: a change is written through to every interface, ours among them.
fn set_forwarding(node: &Netns, value: &str) {
    for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        node.sysctl(key, value).expect("root may set it");
    }
}

fn set_filters(node: &Netns, reverse_path: &str, source_mark: &str) {
    let filters = [("rp_filter", reverse_path), ("src_valid_mark", source_mark)];
    for (key, value) in filters {
        node.sysctl(&format!("net/ipv4/conf/all/{key}"), value).expect("root may set it");
    }
}

/// Connection tracking knows our own connections to the upstreams, which come from the node
/// itself, and none that names the client.
fn assert_untracked(site: &Site, family: Family) {
    let mut conntrack = site.node.command("conntrack");
    let family_name = if family == Family::V4 { "ipv4" } else { "ipv6" };
    conntrack.args(["-L", "-f", family_name, "-p", "tcp"]);
    let entries = output_of(conntrack);
    assert!(entries.contains(&format!("sport={TARGET_PORT} ")), "it tracks: {entries}");
    let client = format!("={} ", SiteAddresses::of(family).client);
    let steered: Vec<_> = entries.lines().filter(|entry| entry.contains(&client)).collect();
    assert!(steered.is_empty(), "{steered:#?}");
}

/// To kube-proxy, Foreword is a client on the node like any other.
#[apply(both_families)]
fn upstream_connections_are_balanced_by_kube_proxy(family: Family) {
    /// The odds that one of the two pods gets none of them are 1 : 2^39.
    const CONNECTIONS: usize = 40;
    for form in Form::BOTH {
        let site = site();
        let servers = Servers::start(&site, family);
        form.install_kube_proxy(&site, family);
        let _foreword = FOREWORD.attach(&site.node, &flags());
        for destination in service_destinations(family) {
            let before = servers.endpoints.each_ref().map(Backend::connections);
            for _ in 0..CONNECTIONS {
                let client = SiteAddresses::of(family).client;
                assert_peer_is_named(&site.client, client, destination);
            }
            let after = servers.endpoints.each_ref().map(Backend::connections);
            let shares = [after[0] - before[0], after[1] - before[1]];
            assert_eq!(shares[0] + shares[1], CONNECTIONS, "{form:?}, {destination}");
            assert!(shares.iter().all(|share| *share > 0), "{form:?}, {destination}: {shares:?}");
        }
    }
}
