//! Steering under conditions that a plain lab does not have: what other transparent proxies trip
//! over on a real node.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use xtask::lab::{Family, Lab, Netns};

use crate::backend::{Backend, echo, swallow};
use crate::client::{Client, End, Reply};
use crate::hooks::hooks;
use crate::maps::packets;
use crate::probe::assert_peer_is_named;
use crate::scene::{OFF, OPTIONAL, PORT, attach, lab};
use crate::wire::{join, v1};

both_families!(
    the_node_need_not_forward,
    connections_by_syn_cookie_are_served,
    each_of_several_interfaces_is_protected,
    a_port_pair_can_be_used_again_at_once,
    a_smaller_mtu_on_the_way_is_learned,
);

/// Strict reverse-path filtering, and no forwarding: neither is ours to change, or to need.
fn the_node_need_not_forward(family: Family) {
    for hook in hooks() {
        let lab = lab();
        for (key, value) in [
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv6/conf/all/forwarding", "0"),
            ("net/ipv4/conf/all/rp_filter", "1"),
            ("net/ipv4/conf/eth0/rp_filter", "1"),
        ] {
            lab.node.sysctl(key, value).expect("root may set it");
        }
        let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
        let _foreword =
            attach(&lab, &format!("eth0 --port {PORT} {OFF} --outbound v1 --hook {hook}"));
        assert_peer_is_named(&lab.client, family.lb(), backend.address());
    }
}

/// With `tcp_syncookies=2` no handshake leaves a request socket behind: the ACK alone says that
/// the connection is ours.
fn connections_by_syn_cookie_are_served(family: Family) {
    let lab = lab();
    lab.node.sysctl("net/ipv4/tcp_syncookies", "2").expect("root may set it");
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let foreword = attach(&lab, &format!("eth0 --port {PORT} {OFF} --outbound v1"));
    for _ in 0..5 {
        assert_peer_is_named(&lab.client, family.lb(), backend.address());
    }
    assert_eq!(packets(&foreword, "steered_cookie"), 5);
}

/// Replies leave by the way to the client, whichever interface it came in on.
fn each_of_several_interfaces_is_protected(family: Family) {
    let lab = lab();
    let on_node = Backend::start(&lab.node, (family.node(), PORT).into(), echo);
    let behind = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let _foreword = attach(&lab, &format!("eth0 eth1 --port {PORT} {OFF} --outbound v1"));
    assert_peer_is_named(&lab.client, family.lb(), on_node.address());
    assert_peer_is_named(&lab.client, family.lb(), behind.address());
    assert_peer_is_named(&lab.backend, family.backend(), on_node.address());
}

/// Where the backend ends first, `TIME_WAIT` stays with us. A client that takes the same port
/// again is a new connection, and must not slip past the proxy.
fn a_port_pair_can_be_used_again_at_once(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), |served| {
        served.finish();
        swallow(served);
    });
    let _foreword = attach(&lab, &format!("eth0 --port {PORT} {OFF} --outbound v1"));
    let source = SocketAddr::new(family.lb(), 40_001);
    let expected = join(&v1(source, backend.address()), b"hello");
    for number in 0..3 {
        let mut client = Client::connect_from_port(&lab.client, source, backend.address());
        assert_eq!(client.rest(), Reply::ended(b""));
        client.send(b"hello");
        drop(client);
        assert_eq!(backend.received(number), expected, "connection {number}");
    }
}

/// The addresses of that link: the far end, and the router.
fn far(family: Family) -> [SocketAddr; 2] {
    let addresses = match family {
        Family::V4 => ["10.77.9.2:0", "10.77.9.1:0"],
        Family::V6 => ["[fd77:9::2]:0", "[fd77:9::1]:0"],
    };
    addresses.map(|address| address.parse().expect("a literal address"))
}

/// A namespace behind the client's, which routes for it: far ←1300─ client ←1500─ node. Only the
/// router knows of the smaller size; the far end itself promises to take 1500.
fn far_client(lab: &Lab, family: Family) -> Netns {
    let netns = Netns::new(&format!("{}-far", lab.client.name())).expect("root can make it");
    let [far, router] = far(family).map(|address| address.ip());
    let (option, prefix) = (family.ip_option(), family.link_prefix());
    lab.client.link("far0", &netns, "eth0").expect("a veth pair can be made");
    lab.client.add_address("far0", router, prefix).expect("the address is new");
    netns.add_address("eth0", far, prefix).expect("the address is new");
    lab.client.ip("link set far0 mtu 1300").expect("1300 suits IPv6 as well");
    let lb = family.lb();
    netns.ip(&format!("{option} route add default via {router}")).expect("the router is there");
    lab.node.ip(&format!("{option} route add {far} via {lb}")).expect("the load balancer is there");
    lab.client.sysctl("net/ipv4/ip_forward", "1").expect("root may set it");
    lab.client.sysctl("net/ipv6/conf/all/forwarding", "1").expect("root may set it");
    netns
}

/// The router's ICMP error is about a packet of the private namespace, and must reach it: else
/// large packets are lost without end.
fn a_smaller_mtu_on_the_way_is_learned(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let far_client = far_client(&lab, family);
        let answer = vec![b'x'; 1 << 20];
        let to_send = answer.clone();
        let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), move |served| {
            served.read_to_end();
            served.send(&to_send);
        });
        let flags = format!("eth0 --port {PORT} {OPTIONAL} --untrusted direct --outbound v1");
        let foreword = attach(&lab, &format!("{flags} --hook {hook}"));
        let [source, _] = far(family);
        let begin = Instant::now();
        let mut client = Client::connect(&far_client, source.ip(), backend.address());
        client.send(b"how much?");
        let reply = client.finish_and_rest();
        assert_eq!((reply.bytes.len(), reply.end), (answer.len(), End::Eof), "{hook}");
        assert!(reply.bytes == answer);
        assert!(begin.elapsed() < Duration::from_secs(2), "took {:?}", begin.elapsed());
        assert!(packets(&foreword, "steered_icmp") > 0, "{hook}: no ICMP error was steered");
    }
}
