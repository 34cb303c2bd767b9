//! Replies leave the node by its routing table's choice, whichever card the client came in by, and
//! although the node neither forwards nor takes in what it would not answer the same way.

use std::time::Duration;

use netlab::{
    Backend, Client, Family, Foreword, Netns, OFF, PORT, Site, SiteAddresses, echo, hooks, lab,
    output_of, site,
};

use crate::FOREWORD;
use crate::counters::Counters;
use crate::probe::{assert_peer_is_named, is_prompt};

/// A site that neither forwards nor takes in what comes from the wrong side.
fn strict_site() -> Site {
    let site = site();
    for (key, value) in [
        ("net/ipv4/ip_forward", "0"),
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv4/conf/all/rp_filter", "1"),
    ] {
        site.node.sysctl(key, value).expect("root may set it");
    }
    site
}

fn attach_both_cards(site: &Site, hook: &str) -> Foreword {
    FOREWORD
        .attach(&site.node, &format!("eth0 eth1 --port {PORT} {OFF} --outbound v1 --hook {hook}"))
}

/// In by one card, back by the other one, seen from the router.
#[apply(both_families)]
fn it_is_the_routing_tables_choice(family: Family) {
    let at = SiteAddresses::of(family);
    let seen = [
        ("request_by_0", format!("oifname node0 tcp dport {PORT}")),
        ("request_by_1", format!("oifname node1 tcp dport {PORT}")),
        ("reply_by_0", format!("iifname node0 tcp sport {PORT}")),
        ("reply_by_1", format!("iifname node1 tcp sport {PORT}")),
    ];
    let seen = seen.each_ref().map(|(name, expression)| (*name, expression.as_str()));
    for hook in hooks() {
        for (way_in, way_back) in [(0, 1), (1, 0)] {
            let site = strict_site();
            site.enter_by(family, way_in).expect("the router knows the node");
            site.answer_by(family, way_back).expect("the node knows the router");
            let in_pod = Backend::start(&site.pods[0], (at.vip, PORT).into(), echo);
            let on_node = Backend::start(&site.node, (at.nics[way_in], PORT).into(), echo);
            assert_closed(&site, &in_pod, family);

            let _foreword = attach_both_cards(&site, hook);
            let counters = Counters::new(&site.router, "forward", &seen);
            for server in [&in_pod, &on_node] {
                assert_peer_is_named(&site.client, at.client, server.address());
            }
            let packets = seen.map(|(name, _)| counters.packets(name) > 0);
            let expected = [way_in == 0, way_in == 1, way_back == 0, way_back == 1];
            assert_eq!(packets, expected, "{hook}, in by {way_in}, back by {way_back}");
        }
    }
}

/// `--reply arrival`: back by the card that it came in by, whatever the routing table says.
#[apply(both_families)]
fn it_can_be_the_card_of_arrival(family: Family) {
    let at = SiteAddresses::of(family);
    let seen = [
        ("reply_by_0", format!("iifname node0 tcp sport {PORT}")),
        ("reply_by_1", format!("iifname node1 tcp sport {PORT}")),
    ];
    let seen = seen.each_ref().map(|(name, expression)| (*name, expression.as_str()));
    for hook in hooks() {
        for (way_in, way_back) in [(0, 1), (1, 0)] {
            let site = strict_site();
            site.enter_by(family, way_in).expect("the router knows the node");
            site.answer_by(family, way_back).expect("the node knows the router");
            let in_pod = Backend::start(&site.pods[0], (at.vip, PORT).into(), echo);
            let flags = format!("eth0 eth1 --port {PORT} {OFF} --outbound v1 --hook {hook}");
            let _foreword = FOREWORD.attach(&site.node, &format!("{flags} --reply arrival"));
            let counters = Counters::new(&site.router, "forward", &seen);
            for _ in 0..3 {
                assert_peer_is_named(&site.client, at.client, in_pod.address());
            }
            let by_arrival = seen.map(|(name, _)| counters.packets(name) > 0);
            assert_eq!(by_arrival, [way_in == 0, way_in == 1], "{hook}, in by {way_in}");
        }
    }
}

/// The kernel writes the switch through to every interface, the end of our own veth among them.
#[apply(both_families)]
fn it_stays_when_forwarding_is_switched_off(family: Family) {
    let at = SiteAddresses::of(family);
    for hook in hooks() {
        let site = site();
        let server = Backend::start(&site.pods[0], (at.vip, PORT).into(), echo);
        let _foreword = attach_both_cards(&site, hook);
        assert_peer_is_named(&site.client, at.client, server.address());
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            site.node.sysctl(key, "0").expect("root may set it");
        }
        assert_peer_is_named(&site.client, at.client, server.address());
    }
}

/// The node means it: without Foreword, nobody gets through.
fn assert_closed(site: &Site, server: &Backend, family: Family) {
    let client = SiteAddresses::of(family).client;
    let patience = Duration::from_millis(300);
    let attempt = Client::try_connect_within(&site.client, client, server.address(), patience);
    assert!(attempt.is_err(), "{} is open", server.address());
}

/// The reply has to find out its next hop's link-layer address by itself.
#[apply(both_families)]
fn an_empty_neighbour_cache_costs_no_time(family: Family) {
    let at = SiteAddresses::of(family);
    for hook in hooks() {
        let site = strict_site();
        let servers = [
            Backend::start(&site.pods[0], (at.vip, PORT).into(), echo),
            Backend::start(&site.node, (at.nics[0], PORT).into(), echo),
        ];
        let _foreword = attach_both_cards(&site, hook);
        for (server, way_back) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            site.answer_by(family, way_back).expect("the node knows the router");
            let is_prompt = || {
                forget_neighbours(&site.node, family);
                is_prompt(|| {
                    assert_peer_is_named(&site.client, at.client, servers[server].address());
                })
            };
            // A flood in another lab can cost a packet of ours, but not each time.
            assert!((0..5).any(|_| is_prompt()), "{hook}, server {server}, back by {way_back}");
        }
    }
}

fn forget_neighbours(node: &Netns, family: Family) {
    let option = family.ip_option();
    node.ip(&format!("{option} neighbour flush all")).expect("root may forget");
    let mut show = node.command("ip");
    show.args([option, "neighbour", "show"]);
    let known = output_of(show);
    assert!(!known.contains("lladdr"), "still known: {known}");
}

/// Two protected cards, and a client behind each of them.
#[apply(both_families)]
fn each_of_several_interfaces_is_protected(family: Family) {
    let lab = lab();
    let on_node = Backend::start(&lab.node, (family.node(), PORT).into(), echo);
    let behind = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let _foreword =
        FOREWORD.attach(&lab.node, &format!("eth0 eth1 --port {PORT} {OFF} --outbound v1"));
    assert_peer_is_named(&lab.client, family.lb(), on_node.address());
    assert_peer_is_named(&lab.client, family.lb(), behind.address());
    assert_peer_is_named(&lab.backend, family.backend(), on_node.address());
}
