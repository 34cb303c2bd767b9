//! Foreword on interfaces: beside the programs of others, and as interfaces come and go.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netlab::header::v1;
use netlab::{
    Backend, Client, Family, Foreword, Lab, OFF, PATIENCE, PORT, REQUIRE, Reply, echo, hooks, join,
    lab, wait_until,
};

use crate::FOREWORD;
use crate::bulk::{MEBIBYTE, noise};
use crate::counters::Counters;
use crate::footprint::{Footprint, NodeState};
use crate::probe::{FLAGS, assert_peer_is_named, assert_served, attach_and_serve, cleanup, echoes};
use crate::talk::Talk;
use crate::witness::{Position, Witness};

const OTHER_PORT: u16 = 8081;

#[apply(both_families)]
fn programs_before_and_behind_keep_running(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
        let other = Backend::start(&lab.backend, (family.vip(), OTHER_PORT).into(), echo);
        let flags = format!("eth0 --port {PORT} {REQUIRE} --outbound v1 --hook {hook}");
        let foreword = FOREWORD.attach(&lab.node, &flags);
        let ports = [PORT, OTHER_PORT];
        let before = Witness::stand(&lab.node, "eth0", hook, Position::Before, &ports);
        let behind = Witness::stand(&lab.node, "eth0", hook, Position::Behind, &ports);

        assert_served(&lab, &backend, family);
        let ours = before.packets();
        assert!(ours > 0, "{hook}: what is before us sees what is ours");
        assert_eq!(behind.packets(), 0, "{hook}: what is behind us doesn't");

        assert_echoed(&lab, family.lb(), other.address());
        let others = behind.packets();
        assert!(others > 0, "{hook}: what is behind us sees what isn't ours");
        assert_eq!(before.packets(), ours + others, "{hook}");
        drop(foreword);
        assert_echoed(&lab, family.lb(), backend.address());
        assert!(behind.packets() > others, "{hook}: and everything when we are gone");
    }
}

fn assert_echoed(lab: &Lab, from: IpAddr, to: SocketAddr) {
    let mut client = Client::connect(&lab.client, from, to);
    client.send(b"hello");
    assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
}

/// A second way from the client to the node, with addresses of its own at both ends.
struct SecondLink {
    client: IpAddr,
    node: IpAddr,
}

impl SecondLink {
    fn add(lab: &Lab, family: Family, interface: &str) -> Self {
        let (client, node): (IpAddr, IpAddr) = match family {
            Family::V4 => ([10, 77, 9, 2].into(), [10, 77, 9, 1].into()),
            Family::V6 => {
                ([0xfd77, 9, 0, 0, 0, 0, 0, 2].into(), [0xfd77, 9, 0, 0, 0, 0, 0, 1].into())
            }
        };
        lab.client.link("second", &lab.node, interface).expect("root may make links");
        lab.client.add_address("second", client, family.link_prefix()).expect("it is free");
        lab.node.add_address(interface, node, family.link_prefix()).expect("it is free");
        Self { client, node }
    }

    fn server(&self, lab: &Lab) -> Backend {
        Backend::start(&lab.node, (self.node, PORT).into(), echo)
    }
}

/// Waits for a line of the log, which tells of interfaces.
#[track_caller]
fn wait_for_word(foreword: &Foreword, words: &[&str]) {
    let said = || {
        let output = foreword.output();
        output.lines().any(|line| words.iter().all(|word| line.contains(word)))
    };
    wait_until(PATIENCE, &format!("{words:?}"), said)
        .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
}

fn named_through(lab: &Lab, link: &SecondLink) -> bool {
    let to = SocketAddr::new(link.node, PORT);
    let patience = Duration::from_millis(500);
    let Ok(mut client) = Client::try_connect_within(&lab.client, link.client, to, patience) else {
        return false;
    };
    let expected = join(&v1(client.address(), to), b"hello");
    client.offer(b"hello");
    client.rest_after_finish(patience) == expected
}

#[track_caller]
fn wait_until_named(lab: &Lab, link: &SecondLink, foreword: &Foreword) {
    wait_until(PATIENCE, "a steered connection", || named_through(lab, link))
        .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
}

#[apply(both_families)]
fn an_interface_that_comes_is_attached_to(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let before = NodeState::of(&lab.node);
        let flags = format!("eth0 late* --port {PORT} {OFF} --outbound v1 --hook {hook}");
        let mut foreword = FOREWORD.attach(&lab.node, &flags);
        let footprint = Footprint::of(foreword.pid(), &lab.node);
        // The first connection that comes by it may be faster than we are.
        let link = SecondLink::add(&lab, family, "late0");
        let server = link.server(&lab);
        wait_for_word(&foreword, &["an interface has come", "late0"]);
        for _ in 0..5 {
            assert_peer_is_named(&lab.client, link.client, server.address());
        }
        lab.node.ip("link del late0").expect("it is there");
        wait_for_word(&foreword, &["an interface has gone", "late0"]);
        let on_eth0 = Backend::start(&lab.node, (family.node(), PORT).into(), echo);
        assert_peer_is_named(&lab.client, family.lb(), on_eth0.address());

        drop((server, on_eth0));
        foreword.terminate().expect("it ends after SIGTERM");
        footprint.assert_gone(&lab.node);
        before.assert_restored(&lab.node);
    }
}

/// One that was named, and is made anew under the same name.
#[apply(both_families)]
fn an_interface_that_comes_back_is_attached_to_again(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let link = SecondLink::add(&lab, family, "nic");
        let flags = format!("nic eth0 --port {PORT} {OFF} --outbound v1 --hook {hook}");
        let foreword = FOREWORD.attach(&lab.node, &flags);
        let server = link.server(&lab);
        assert_peer_is_named(&lab.client, link.client, server.address());

        lab.node.ip("link del nic").expect("it is there");
        wait_for_word(&foreword, &["an interface has gone", "nic"]);
        let link = SecondLink::add(&lab, family, "nic");
        wait_until_named(&lab, &link, &foreword);
    }
}

/// A name is a name: what was attached to is the interface, by its index.
#[apply(both_families)]
fn a_renamed_interface_is_steered_on(family: Family) {
    for hook in hooks() {
        let lab = lab();
        let before = NodeState::of(&lab.node);
        let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
        let flags =
            format!("eth0 --port {PORT} {OFF} --outbound v1 --when-absent drop --hook {hook}");
        let http = "--admin-http 127.0.0.1:9478";
        let mut foreword = FOREWORD.attach(&lab.node, &format!("{flags} {http}"));
        assert_peer_is_named(&lab.client, family.lb(), backend.address());
        let mut open = Client::connect(&lab.client, family.lb(), backend.address());
        open.send(b"one");
        let named = v1(open.address(), backend.address());
        assert_eq!(open.receive(named.len() + 3), join(&named, b"one"));
        for (old, new) in [("eth0", "wan0"), ("wan0", "wan1")] {
            rename(&lab, family, old, new);
            wait_for_word(&foreword, &["another name", new]);
            assert_peer_is_named(&lab.client, family.lb(), backend.address());
            open.send(b"two");
            assert_eq!(open.receive(3), b"two", "{hook}: as {new}");
            let (_, metrics) = crate::admin::get(&lab, "/metrics");
            assert!(
                metrics.contains(&format!(r#"foreword_interfaces{{interface="{new}""#)),
                "{metrics}"
            );
            assert!(!metrics.contains(&format!(r#"interface="{old}""#)), "{metrics}");
        }
        // Whatever is made under the old name is protected as well, as it was meant to be.
        let link = SecondLink::add(&lab, family, "eth0");
        let server = link.server(&lab);
        wait_for_word(&foreword, &["an interface has come", "eth0"]);
        assert_peer_is_named(&lab.client, link.client, server.address());
        drop((server, open));
        lab.node.ip("link del eth0").expect("it is there");
        foreword.terminate().expect("it ends after SIGTERM");
        cleanup(&lab.node);
        rename(&lab, family, "wan1", "eth0");
        before.assert_restored(&lab.node);
    }
}

/// An interface loses its routes by being down meanwhile, and IPv6 its addresses.
fn rename(lab: &Lab, family: Family, old: &str, new: &str) {
    for command in [
        format!("link set {old} down"),
        format!("link set {old} name {new}"),
        format!("link set {new} up"),
    ] {
        lab.node.ip(&command).expect("root may rename");
    }
    for family in [family, Family::V4, Family::V6] {
        let _ = lab.node.add_address(new, family.node(), family.link_prefix());
    }
}

#[apply(both_families)]
fn an_interface_is_found_by_its_alternative_name(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    lab.node.ip("link property add dev eth0 altname wan-by-another-name").expect("a new kernel");
    for named in ["wan-by-another-name", "wan-by-*"] {
        let flags = format!("{named} --port {PORT} {OFF} --outbound v1");
        let foreword = FOREWORD.attach(&lab.node, &flags);
        assert_peer_is_named(&lab.client, family.lb(), backend.address());
        assert!(foreword.output().contains("steering  eth0"), "{}", foreword.output());
    }
}

/// What the veth lets through, the card has to take: nothing cuts it in pieces on its way.
#[apply(both_families)]
fn no_frame_is_longer_than_the_card_takes(family: Family) {
    const LESS: u32 = 1400;
    let lab = lab();
    for (netns, interface) in [(&lab.node, "eth0"), (&lab.client, "eth0"), (&lab.backend, "eth0")] {
        let mut ethtool = netns.command("ethtool");
        ethtool.args(["-K", interface, "tso", "off", "gso", "off", "gro", "off"]);
        netlab::output_of(ethtool);
    }
    let bytes = noise(1, MEBIBYTE);
    let sent = bytes.clone();
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), move |served| {
        while served.read().is_some() {
            served.send(&sent);
        }
    });
    let foreword = FOREWORD.attach(&lab.node, &format!("eth0 --port {PORT} {OFF} --outbound none"));
    let veth = format!("fwd{}", foreword.pid());
    let mut open = Client::connect(&lab.client, family.lb(), backend.address());
    open.send(b"before");
    assert!(open.receive(bytes.len()) == bytes);
    for mtu in [LESS, 1500, LESS] {
        lab.node.ip(&format!("link set eth0 mtu {mtu}")).expect("root may set it");
        let is_followed = || {
            let mut show = lab.node.command("ip");
            show.args(["link", "show", "dev", &veth]);
            netlab::output_of(show).contains(&format!("mtu {mtu} "))
        };
        wait_until(PATIENCE, &format!("MTU {mtu}"), is_followed)
            .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
    }
    // The network layer's octets.
    let long = format!("meta length > {LESS} tcp sport {PORT}");
    let seen = Counters::new(&lab.client, "prerouting", &[("long", &long)]);
    let mut new = Client::connect(&lab.client, family.lb(), backend.address());
    for client in [&mut open, &mut new] {
        client.send(b"after");
        assert!(client.receive(bytes.len()) == bytes);
    }
    assert_eq!(seen.packets("long"), 0, "{}", foreword.output());
}

/// Of its kind, this kernel has macvlan: a link of its own above `eth0`, with an address of its
/// own. What comes for one of them is not the other's.
#[apply(both_families)]
fn a_sub_interface_is_protected_by_itself(family: Family) {
    for (protected, other) in [("sub0", "eth0"), ("eth0", "sub0")] {
        let lab = lab();
        for command in ["link add link eth0 name sub0 type macvlan mode bridge", "link set sub0 up"]
        {
            lab.node.ip(command).expect("root may make links");
        }
        let sub: IpAddr = match family {
            Family::V4 => [10, 77, 1, 9].into(),
            Family::V6 => [0xfd77, 1, 0, 0, 0, 0, 0, 9].into(),
        };
        lab.node.add_address("sub0", sub, family.host_prefix()).expect("it is free");
        // Each speaks for its own address only.
        for (key, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            let key = format!("net/ipv4/conf/all/{key}");
            lab.node.sysctl(&key, value).expect("root may set it");
        }
        let address = |interface| if interface == "sub0" { sub } else { family.node() };
        let ours = Backend::start(&lab.node, (address(protected), PORT).into(), echo);
        let theirs = Backend::start(&lab.node, (address(other), PORT).into(), echo);
        let talk = Talk::begin(Client::connect(&lab.client, family.lb(), theirs.address()));
        let flags = format!("{protected} --port {PORT} {OFF} --outbound v1");
        let _foreword = FOREWORD.attach(&lab.node, &flags);
        assert_peer_is_named(&lab.client, family.lb(), ours.address());
        assert_echoed(&lab, family.lb(), theirs.address());
        talk.assert_goes_on("on the other interface");
        talk.end();
    }
}

#[apply(lab_test)]
fn how_it_is_attached_is_reported() {
    let best = hooks()[0];
    for (hook, used) in [("auto", best), (best, best), ("clsact", "clsact")] {
        let lab = lab();
        let output = FOREWORD
            .attach(
                &lab.node,
                &format!("eth0 eth1 --port {PORT} {OFF} --outbound v1 --hook {hook}"),
            )
            .output();
        let line = format!("steering  eth0, eth1 ({used} ingress)");
        assert!(output.lines().any(|l| l == line), "{output}");
    }
}

#[apply(lab_test)]
fn a_pattern_without_an_interface_is_no_error() {
    let lab = lab();
    let output =
        FOREWORD.attach(&lab.node, &format!("none* --port {PORT} {OFF} --outbound v1")).output();
    assert!(output.contains("nothing yet: no interface is called none*"), "{output}");
}

#[apply(lab_test)]
fn a_pattern_never_means_loopback_or_our_own() {
    let lab = lab();
    let _first = FOREWORD.attach(&lab.node, &format!("eth1 --port {PORT} {OFF} --outbound v1"));
    let output = FOREWORD
        .attach(&lab.node, &format!("[!x]*0 l* f* --port {PORT} {OFF} --outbound v1"))
        .output();
    let line = format!("steering  eth0 ({} ingress)", hooks()[0]);
    assert!(output.contains(&line), "{output}");
}

/// The way inside is as wide as the narrowest interface.
#[apply(lab_test)]
fn a_smaller_mtu_that_comes_later_is_kept_to() {
    let lab = lab();
    let foreword =
        FOREWORD.attach(&lab.node, &format!("eth0 late* --port {PORT} {OFF} --outbound v1"));
    let link = SecondLink::add(&lab, Family::V4, "late0");
    let _server = link.server(&lab);
    wait_for_word(&foreword, &["an interface has come", "late0"]);
    lab.node.ip("link del late0").expect("it is there");
    wait_for_word(&foreword, &["an interface has gone", "late0"]);
    lab.client.ip("link add second mtu 1300 type veth peer name late1 mtu 1300").expect("a pair");
    lab.client.ip(&format!("link set late1 netns {}", lab.node.name())).expect("it moves");
    wait_for_word(&foreword, &["an interface has come", "late1"]);
    let mut show = lab.node.command("ip");
    show.args(["link", "show", "dev", &format!("fwd{}", foreword.pid())]);
    let veth = netlab::output_of(show);
    assert!(veth.contains("mtu 1300 "), "{veth}");
    let [backend, _] = echoes(&lab);
    assert_peer_is_named(&lab.client, Family::V4.lb(), backend.address());
}

/// As when a container's interface is deleted before what was attached to it.
#[apply(lab_test)]
fn an_interface_that_goes_away_is_no_obstacle() {
    for hook in hooks() {
        let lab = lab();
        let backends = echoes(&lab);
        let flags = format!("{FLAGS} --hook {hook}");
        let (mut foreword, footprint) = attach_and_serve(&lab, &backends, &flags);
        lab.node.ip("link del eth0").expect("it is there");
        let status = foreword.terminate().expect("it ends after SIGTERM");
        assert_eq!(status.code(), Some(0), "{hook}: {}", foreword.output());
        footprint.assert_gone(&lab.node);
    }
}
