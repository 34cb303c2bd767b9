//! What is turned away before there is a socket for it: untrusted sources, and too many connections
//! of one source; wherever the guard stands.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use netlab::{
    Backend, Client, Daemon, Family, Lab, OFF, PATIENCE, PORT, REQUIRE, Reply, echo, lab,
    wait_until,
};

use crate::FOREWORD;
use crate::maps::{dropped, packets, refused};
use crate::probe::{assert_served, echoes};
use crate::talk::Talk;

/// Where the guard can be made to stand, and what is then said of it.
const PLACES: [(&str, &str); 3] =
    [("native", "native XDP"), ("generic", "generic XDP"), ("tc", "in TC")];

/// Long enough for an answer on a busy machine, and no longer than a SYN's first repetition.
const NO_ANSWER: Duration = Duration::from_millis(500);

fn try_once(lab: &Lab, from: IpAddr, to: SocketAddr) -> Option<Client> {
    Client::try_connect_within(&lab.client, from, to, NO_ANSWER).ok()
}

/// Waits until a counter that is published once a second has this value.
fn assert_dropped(foreword: &Daemon, reason: &str, at_least: u64) {
    wait_until(PATIENCE, reason, || dropped(foreword, reason) >= at_least)
        .unwrap_or_else(|error| panic!("{error}: {}", dropped(foreword, reason)));
}

#[apply(both_families)]
fn only_trusted_sources_reach_a_socket(family: Family) {
    for (hook, _) in PLACES {
        let lab = lab();
        let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
        let flags = format!("eth0 --port {PORT} {REQUIRE} --outbound v1 --guard-hook {hook}");
        let foreword = FOREWORD.attach(&lab.node, &flags);
        for _ in 0..3 {
            let stranger = try_once(&lab, family.stranger(), backend.address());
            assert!(stranger.is_none(), "{hook}: the stranger is in");
            assert_served(&lab, &backend, family);
        }
        assert_dropped(&foreword, "untrusted-source", 3);
        assert_eq!(refused(&foreword, "untrusted-source"), 0, "{hook}: none came to a socket");
        assert_eq!(packets(&foreword, "steered_syn"), 3, "{hook}");
        assert_eq!(backend.connections(), 3, "{hook}");
    }
}

/// Behind generic XDP a program can see a packet from its IP header on, without the addresses that a
/// reply is sent to.
#[apply(both_families)]
fn replies_by_arrival_find_their_way_wherever_it_stands(family: Family) {
    for (hook, _) in PLACES {
        let lab = lab();
        let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
        let flags = format!("eth0 --port {PORT} {REQUIRE} --outbound v1 --reply arrival");
        let _foreword = FOREWORD.attach(&lab.node, &format!("{flags} --guard-hook {hook}"));
        assert_served(&lab, &backend, family);
    }
}

/// It was opened before there was a rule.
#[apply(both_families)]
fn a_connection_from_before_is_left_alone(family: Family) {
    for (hook, _) in PLACES {
        let lab = lab();
        let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
        let client = Client::connect(&lab.client, family.stranger(), backend.address());
        let talk = Talk::begin(client);
        talk.assert_goes_on("before");
        let flags = format!("eth0 --port {PORT} {REQUIRE} --outbound v1 --guard-hook {hook}");
        let mut foreword = FOREWORD.attach(&lab.node, &flags);
        talk.assert_goes_on("while attached");
        foreword.terminate().expect("it ends after SIGTERM");
        talk.assert_goes_on("afterwards");
        talk.end();
    }
}

#[apply(both_families)]
fn other_ports_are_none_of_its_business(family: Family) {
    for (hook, _) in PLACES {
        let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound v1 --guard-hook", hook]);
        let address = (family.vip(), PORT + 1).into();
        let _other = Backend::start(&scene.lab.backend, address, echo);
        let mut stranger = Client::connect(&scene.lab.client, family.stranger(), address);
        stranger.send(b"hello");
        assert_eq!(stranger.finish_and_rest(), Reply::ended(b"hello"), "{hook}");
    }
}

/// One a second, and another source as if the first one were not there.
#[apply(both_families)]
fn a_source_opens_as_many_connections_as_it_may(family: Family) {
    for (hook, _) in PLACES {
        let scene = FOREWORD.scene_serving(
            family,
            &[OFF, "--outbound none --syn-limit 1 --guard-hook", hook],
            echo,
        );
        let begin = Instant::now();
        let attempts = (0..10).filter_map(|_| try_once(&scene.lab, family.lb(), scene.vip()));
        let served = attempts.count() as u64;
        let allowed = begin.elapsed().as_secs() + 2;
        assert!((1..=allowed).contains(&served), "{hook}: {served} of {allowed}");
        assert_dropped(&scene.foreword, "syn-rate", 10 - allowed.min(9));
        let other = match family {
            Family::V4 => family.stranger(),
            Family::V6 => second_network(&scene.lab, 1)[0],
        };
        assert!(try_once(&scene.lab, other, scene.vip()).is_some(), "{hook}");
        wait_until(PATIENCE, "the next second", || {
            try_once(&scene.lab, family.lb(), scene.vip()).is_some()
        })
        .unwrap_or_else(|error| panic!("{hook}: {error}"));
    }
}

/// Addresses of a second IPv6 network, which the client has beside its own.
fn second_network(lab: &Lab, addresses: u16) -> Vec<IpAddr> {
    let network = |number| Ipv6Addr::from([0xfd77, 9, 0, 0, 0, 0, 0, number]).into();
    let addresses: Vec<IpAddr> = (1..=addresses).map(network).collect();
    for address in &addresses {
        lab.client.add_spare_address("eth0", *address, 128).expect("it is nobody's");
    }
    lab.node.ip("-6 route add fd77:9::/64 dev eth0").expect("root may route");
    addresses
}

/// Each attempt comes from another address: they share what one source may, unless they are told
/// apart.
#[apply(lab_test)]
fn an_ipv6_network_is_one_source() {
    const ATTEMPTS: u16 = 6;
    for (hook, _) in PLACES {
        for (prefix, is_shared) in [("64", true), ("128", false)] {
            let flags = format!("--syn-limit 1 --ipv6-prefix {prefix} --guard-hook {hook}");
            let scene = FOREWORD.scene_serving(Family::V6, &[OFF, "--outbound none", &flags], echo);
            let sources = second_network(&scene.lab, ATTEMPTS);
            let begin = Instant::now();
            let attempts =
                sources.iter().filter_map(|from| try_once(&scene.lab, *from, scene.vip()));
            let served = attempts.count() as u64;
            if is_shared {
                let allowed = begin.elapsed().as_secs() + 2;
                assert!((1..=allowed).contains(&served), "{hook}: {served} of {allowed}");
                assert_dropped(&scene.foreword, "syn-rate", 1);
                // The client's own network is another source.
                assert!(try_once(&scene.lab, Family::V6.lb(), scene.vip()).is_some(), "{hook}");
            } else {
                assert_eq!(served, u64::from(ATTEMPTS), "{hook}");
            }
        }
    }
}

#[apply(lab_test)]
fn where_it_stands_is_reported() {
    for (hook, words) in PLACES {
        let lab = lab();
        let flags = format!("eth0 eth1 --port {PORT} {REQUIRE} --outbound v1 --guard-hook {hook}");
        let output = FOREWORD.attach(&lab.node, &flags).output();
        let line = format!("guard     eth0 ({words}), eth1 ({words})");
        assert!(output.lines().any(|l| l == line), "{output}");
    }
    let unguarded =
        [format!("{OFF} --outbound v1"), format!("{REQUIRE} --guard off --outbound v1")];
    for flags in unguarded {
        let output = FOREWORD.attach(&lab().node, &format!("eth0 --port {PORT} {flags}")).output();
        assert!(!output.contains("guard "), "{output}");
    }
}

/// A veth's driver can, but would lose its offloads to it.
#[apply(lab_test)]
fn without_a_driver_that_can_it_stands_in_tc() {
    let lab = lab();
    let [backend, _] = echoes(&lab);
    let foreword =
        FOREWORD.attach(&lab.node, &format!("eth0 --port {PORT} {REQUIRE} --outbound v1"));
    assert!(foreword.output().contains("guard     eth0 (in TC)"), "{}", foreword.output());
    assert!(try_once(&lab, Family::V4.stranger(), backend.address()).is_none());
    assert_served(&lab, &backend, Family::V4);
}
