//! Upstreams that see the client's address as their peer, where the network allows it.

use std::net::{IpAddr, SocketAddr};

use netlab::header::{Encoder, named_client, named_destination, named_headers, v1, v2, v2_raw};
use netlab::{
    Backend, Client, Family, Netns, OFF, PATIENCE, PORT, REQUIRE, Reply, Site, SiteAddresses, echo,
    hooks, join, lab, site, wait_until,
};

use crate::FOREWORD;
use crate::footprint::NodeState;
use crate::maps::{dropped, packets, refused};
use crate::rules::{Form, TARGET_PORT};

/// Connects, talks to an echo, and finds that the server's peer is the client, to the port.
fn assert_seen(netns: &Netns, from: IpAddr, to: SocketAddr, server: &Backend) {
    let before = server.connections();
    let mut client = Client::connect(netns, from, to);
    let address = client.address();
    client.send(b"hello");
    assert_eq!(client.receive(5), b"hello");
    assert_eq!(server.recording(before).peer, address);
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
}

/// A site whose firewall and kube-proxy have their say about everything that they see.
fn guarded_site(family: Family) -> Site {
    let site = site();
    Form::Iptables.install_kube_proxy(&site, family);
    Form::Iptables.install_firewall(&site, family);
    site
}

#[apply(both_families)]
fn a_pod_of_this_node_sees_the_client(family: Family) {
    let at = SiteAddresses::of(family);
    for hook in hooks() {
        let site = guarded_site(family);
        let before = NodeState::of(&site.node);
        let servers =
            [at.vip, at.pods[0]].map(|ip| Backend::start(&site.pods[0], (ip, PORT).into(), echo));
        let flags = format!(
            "eth0 --port {PORT} {OFF} --outbound none --source client \
             --upstream-interface veth-pod* --hook {hook}"
        );
        let mut foreword = FOREWORD.attach(&site.node, &flags);
        for server in &servers {
            assert_seen(&site.client, at.client, server.address(), server);
        }
        assert!(packets(&foreword, "answered") > 0, "{hook}");
        foreword.terminate().expect("it ends after SIGTERM");
        before.assert_restored(&site.node);
    }
}

#[apply(both_families)]
fn a_pod_at_a_fixed_address_sees_the_client(family: Family) {
    let at = SiteAddresses::of(family);
    let site = guarded_site(family);
    let server = Backend::start(&site.pods[1], (at.pods[1], TARGET_PORT).into(), echo);
    let upstream = server.address();
    let _foreword = FOREWORD.attach(
        &site.node,
        &format!(
            "eth0 --port {PORT} {OFF} --outbound none --source client --upstream {upstream} \
             --upstream-interface veth-pod1"
        ),
    );
    for ip in [at.nics[0], at.load_balancer] {
        assert_seen(&site.client, at.client, (ip, PORT).into(), &server);
    }
}

/// Its answers begin in the node's own stack.
#[apply(both_families)]
fn a_server_on_this_node_sees_the_client(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let server = Backend::start(&lab.node, (family.node(), PORT).into(), echo);
        let flags =
            format!("eth0 --port {PORT} {OFF} --outbound none --source client --hook {hook}");
        let foreword = FOREWORD.attach(&lab.node, &flags);
        assert_seen(&lab.client, family.lb(), server.address(), &server);
        assert!(packets(&foreword, "answered_here") > 0, "{hook}");
    }
}

#[apply(both_families)]
fn a_server_behind_this_node_sees_the_client(family: Family) {
    let lab = lab();
    let server = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let _foreword = FOREWORD.attach(
        &lab.node,
        &format!(
            "eth0 --port {PORT} {OFF} --outbound none --source client --upstream-interface eth1"
        ),
    );
    assert_seen(&lab.client, family.lb(), server.address(), &server);
}

const SEEN: &str = "--outbound none --source client --upstream-interface eth1";

/// Somebody whom this network has never heard of: what is answered to him comes back to us.
#[apply(both_families)]
fn the_client_of_a_header_is_seen(family: Family) {
    let lab = lab();
    let scene = FOREWORD.scene_in(lab, family, &[REQUIRE, SEEN], echo);
    for (number, header) in named_headers(family).into_iter().enumerate() {
        let mut client = scene.connect();
        client.send(&join(&header, b"hello"));
        assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
        assert_eq!(scene.backend.recording(number).peer.ip(), named_client(family).ip());
    }
    assert_eq!(scene.backend.recording(0).peer, named_client(family), "the port as well");
}

/// Two connections of one client and port to one server can't be told apart.
#[apply(both_families)]
fn a_port_that_is_taken_is_replaced(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, SEEN], echo);
    let [_, header] = named_headers(family);
    let mut clients = [scene.connect(), scene.connect()];
    for client in &mut clients {
        client.send(&join(&header, b"hello"));
        assert_eq!(client.receive(5), b"hello");
    }
    let peers = [0, 1].map(|number| scene.backend.recording(number).peer);
    assert_eq!(peers.map(|peer| peer.ip()), [named_client(family).ip(); 2]);
    assert_ne!(peers[0].port(), peers[1].port());
}

/// Both directions at once, with offloads on: whole super-packets are led back.
#[apply(both_families)]
fn bulk_goes_both_ways(family: Family) {
    const LENGTH: usize = 8 << 20;
    let scene = FOREWORD.scene_serving(family, &[OFF, SEEN], echo);
    let client = scene.connect();
    let sent: Vec<u8> = (0..=250).cycle().take(LENGTH).collect();
    std::thread::scope(|scope| {
        let mut writer = client.stream().try_clone().expect("a socket can be shared");
        let bytes = &sent;
        scope.spawn(move || std::io::Write::write_all(&mut writer, bytes).expect("it is taken"));
        let mut reader = client.stream().try_clone().expect("a socket can be shared");
        let mut received = vec![0; LENGTH];
        std::io::Read::read_exact(&mut reader, &mut received).expect("it all comes back");
        assert!(received == sent, "the bytes are the same");
    });
}

/// There is no client in it.
#[apply(both_families)]
fn a_health_check_comes_from_the_node(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, SEEN], echo);
    let mut check = scene.connect();
    check.send(&join(&v2_raw(0x20, 0, b""), b"hello"));
    assert_eq!(check.finish_and_rest(), Reply::ended(b"hello"));
    scene.assert_proxied(0);
}

/// The kernel would take some of them for its own choice, and the upstream would see this node. In
/// either version, and in IPv6's form as well.
#[apply(both_families)]
fn a_client_that_is_no_host_is_refused(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, SEEN], echo);
    let none: &[&str] = match family {
        Family::V4 => &[
            "255.255.255.255",
            "224.0.0.1",
            "0.0.0.0",
            "0.0.0.1",
            "127.0.0.1",
            "169.254.77.2",
            "::ffff:255.255.255.255",
            "::ffff:224.0.0.1",
            "::ffff:0.0.0.0",
            "::ffff:127.0.0.1",
        ],
        Family::V6 => &["::", "::1", "ff02::1", "ff0e::1", "fe80::1"],
    };
    for stated in none {
        let stated = SocketAddr::new(stated.parse().expect("an address"), 4711);
        let destination =
            if stated.is_ipv4() { scene.vip() } else { named_destination(Family::V6) };
        for encode in [v1 as Encoder, v2] {
            let mut client = scene.connect();
            client.offer(&join(&encode(stated, destination), b"hello"));
            client.rest().assert_cut(&format!("{stated} is no host"));
        }
    }
    let all = || refused(&scene.foreword, "client-address") == 2 * none.len() as u64;
    wait_until(PATIENCE, "the count", all).expect("they are counted");
    assert_eq!(scene.backend.connections(), 0);
}

/// As nginx and HAProxy name the IPv4 clients of a dual-stack listener. An IPv6 upstream can't see
/// such a client.
#[apply(both_families)]
fn a_mapped_client_is_seen_as_the_ipv4_one(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, SEEN], echo);
    let named = named_client(Family::V4);
    let IpAddr::V4(ip) = named.ip() else { panic!("{named} is of IPv4") };
    let mapped = SocketAddr::new(ip.to_ipv6_mapped().into(), named.port());
    for (number, encode) in [v1 as Encoder, v2].into_iter().enumerate() {
        let mut client = scene.connect();
        client.offer(&join(&encode(mapped, named_destination(Family::V6)), b"hello"));
        if family == Family::V4 {
            assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
            assert_eq!(scene.backend.recording(number).peer.ip(), named.ip());
        } else {
            client.rest().assert_cut("an IPv4 client of an IPv6 upstream");
        }
    }
    let refusals = if family == Family::V4 { 0 } else { 2 };
    let all = || refused(&scene.foreword, "client-address") == refusals;
    wait_until(PATIENCE, "the count", all).expect("they are counted");
}

/// Before the first connection, not by its time-out.
#[apply(lab_test)]
fn what_cannot_work_is_said_at_the_start() {
    let lab = lab();
    let flags = format!("eth0 --port {PORT} {OFF} --outbound none --source client");
    let warnings = |more: &str| {
        let output = FOREWORD.attach(&lab.node, &format!("{flags} {more}")).output();
        output.lines().filter(|line| line.starts_with("warning ")).collect::<Vec<_>>().join("\n")
    };
    for family in Family::BOTH {
        let upstream = SocketAddr::new(family.backend(), PORT);
        let unseen = warnings(&format!("--upstream {upstream}"));
        assert!(unseen.contains("is reached by eth1"), "{unseen}");
        assert!(unseen.contains("write --upstream-interface eth1"), "{unseen}");
        let seen = format!("--upstream {upstream} --upstream-interface eth1");
        assert_eq!(warnings(&seen), "");
        let local = SocketAddr::new(family.node(), PORT);
        assert_eq!(warnings(&format!("--upstream {local}")), "");
    }
    let nowhere = warnings("--upstream 198.51.100.1:80");
    assert!(nowhere.contains("there is no route to the upstream 198.51.100.1:80"), "{nowhere}");
    lab.node.sysctl("net/ipv4/conf/all/rp_filter", "1").expect("root may set it");
    let filtered = warnings("");
    assert!(filtered.contains("net.ipv4.conf.all.rp_filter is 1"), "{filtered}");
}

/// Nobody serves the address, and the network leads it back: as new, it would go round for ever.
#[apply(both_families)]
fn a_connection_that_comes_back_is_dropped(family: Family) {
    for source in ["node", "client"] {
        let site = site();
        let at = SiteAddresses::of(family);
        let foreword = FOREWORD.attach(
            &site.node,
            &format!("eth0 --port {PORT} {OFF} --outbound none --source {source}"),
        );
        let to = SocketAddr::new(at.load_balancer, PORT);
        let mut client = Client::connect(&site.client, at.client, to);
        client.offer(b"hello");
        client.rest().assert_cut(source);
        wait_until(PATIENCE, "the drops to be counted", || dropped(&foreword, "upstream-loop") > 0)
            .unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(packets(&foreword, "steered_syn"), 1, "{source}");
    }
}
