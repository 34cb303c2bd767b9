//! A name with several addresses (RFC 8305): one that does not answer costs a quarter of a second, and
//! once; and whoever loses gets nothing.

use std::fs;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netlab::{
    Backend, Client, Family, Foreword, GREETING, Lab, PATIENCE, PORT, Reply, echo, greet, lab,
    wait_until,
};

use crate::counters::Counters;
use crate::hosts::Hosts;

/// Where nobody answers: the backend gets it, and has no such address.
fn dead(family: Family) -> &'static str {
    match family {
        Family::V4 => "198.51.100.9",
        Family::V6 => "2001:db8:51::9",
    }
}

/// Where somebody does, and what is tried after the dead address (RFC 6724): of IPv4 the one that is
/// named later, and IPv4 after IPv6.
fn good(family: Family) -> IpAddr {
    match family {
        Family::V4 => Family::V4.vip(),
        Family::V6 => Family::V4.backend(),
    }
}

/// A lab whose node has a way to the dead address.
fn lab_with_dead(family: Family) -> Lab {
    let lab = lab();
    let (option, backend) = (family.ip_option(), family.backend());
    if family == Family::V6 {
        let own = "2001:db8:2::1".parse().expect("it is an address");
        lab.node.add_address("eth1", own, 64).expect("the address is new");
        let back = "2001:db8:2::2".parse().expect("it is an address");
        lab.backend.add_address("eth0", back, 64).expect("the address is new");
    }
    lab.node.ip(&format!("{option} route add {} via {backend}", dead(family))).expect("it is new");
    lab.backend.sysctl("net/ipv4/ip_forward", "0").expect("root may set it");
    lab.backend.sysctl("net/ipv6/conf/all/forwarding", "0").expect("root may set it");
    lab
}

fn attach(lab: &Lab, hosts: &Hosts, flags: &str) -> Foreword {
    let mut command = hosts.command(&lab.node);
    command.args(["attach", "eth0", "--port", "80", "--outbound", "none", "--inbound", "off"]);
    command.args(["--upstream", "app.test:80"]).args(flags.split_whitespace());
    Foreword::start(command).unwrap_or_else(|error| panic!("{error:#}"))
}

fn hosts(addresses: &[&str]) -> Hosts {
    let lines = addresses.iter().map(|address| format!("{address} app.test\n"));
    Hosts::saying(&lines.collect::<String>())
}

/// Packets that open a connection to the dead address, as the backend sees them.
fn first_packets(lab: &Lab, family: Family) -> Counters<'_> {
    let ip = if family == Family::V4 { "ip" } else { "ip6" };
    let what = format!("{ip} daddr {} tcp flags & (syn | ack) == syn", dead(family));
    Counters::new(&lab.backend, "prerouting", &[("dead", &what)])
}

/// Sockets of the node's that are still being connected.
fn connecting(lab: &Lab) -> usize {
    const SYN_SENT: &str = "02";
    let tables = ["tcp", "tcp6"]
        .map(|table| lab.node.run(|| fs::read_to_string(format!("/proc/thread-self/net/{table}"))));
    let lines = tables.iter().flat_map(|table| table.as_ref().expect("it can be read").lines());
    lines.filter(|line| line.split_whitespace().nth(3) == Some(SYN_SENT)).count()
}

fn say_hello(lab: &Lab, family: Family) -> (Duration, Reply) {
    let begin = Instant::now();
    let mut client = Client::connect(&lab.client, family.lb(), (family.vip(), PORT).into());
    client.send(b"hello");
    assert_eq!(client.receive(5), b"hello");
    let after = begin.elapsed();
    (after, client.finish_and_rest())
}

#[apply(both_families)]
fn an_address_that_does_not_answer_is_overtaken_by_one_that_does(family: Family) {
    let good = good(family);
    let lab = lab_with_dead(family);
    let seen = first_packets(&lab, family);
    let backend = Backend::start(&lab.backend, (good, PORT).into(), echo);
    let hosts = hosts(&[dead(family), &good.to_string()]);
    let foreword = attach(&lab, &hosts, "--workers 1");
    let (after, end) = say_hello(&lab, family);
    assert_eq!(end, Reply::ended(b""));
    assert!(after >= Duration::from_millis(250), "the dead one was not tried: {after:?}");
    assert!(after < Duration::from_secs(4), "answered after {after:?}");
    assert_eq!(seen.packets("dead"), 1);
    assert_eq!(connecting(&lab), 0, "whoever has lost is given up at once");
    // The winner is remembered.
    for _ in 0..3 {
        assert_eq!(say_hello(&lab, family).1, Reply::ended(b""));
    }
    assert_eq!(seen.packets("dead"), 1);
    assert_eq!(backend.connections(), 4);
    assert_eq!(backend.received(0), b"hello");
    drop(foreword);
}

#[apply(both_families)]
fn a_server_that_speaks_first_wins_as_well(family: Family) {
    let good = good(family);
    let lab = lab_with_dead(family);
    let _backend = Backend::start(&lab.backend, (good, PORT).into(), greet);
    let hosts = hosts(&[dead(family), &good.to_string()]);
    let _foreword = attach(&lab, &hosts, "");
    let mut client = Client::connect(&lab.client, family.lb(), (family.vip(), PORT).into());
    assert_eq!(client.receive(GREETING.len()), GREETING);
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    assert_eq!(connecting(&lab), 0);
}

/// Two of the same family, of which the first refuses.
#[apply(both_families)]
fn an_address_that_refuses_is_passed_over_at_once(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let addresses = [family.backend().to_string(), family.vip().to_string()];
    let hosts = hosts(&addresses.each_ref().map(String::as_str));
    let _foreword = attach(&lab, &hosts, "");
    for _ in 0..3 {
        assert_eq!(say_hello(&lab, family).1, Reply::ended(b""));
    }
    assert_eq!(backend.connections(), 3);
}

#[apply(both_families)]
fn where_none_answers_the_time_is_that_of_one(family: Family) {
    let lab = lab_with_dead(family);
    let more = dead(family).replace('9', "8");
    let (option, backend) = (family.ip_option(), family.backend());
    lab.node.ip(&format!("{option} route add {more} via {backend}")).expect("it is new");
    let hosts = hosts(&[dead(family), &more]);
    let _foreword = attach(&lab, &hosts, "--connect-timeout 2s");
    let begin = Instant::now();
    let mut client = Client::connect(&lab.client, family.lb(), (family.vip(), PORT).into());
    client.send(b"hello");
    wait_until(PATIENCE, "both to be tried", || connecting(&lab) == 2).expect("they race");
    client.rest().assert_cut("a client without upstream");
    let after = begin.elapsed();
    assert!((1.8..6.0).contains(&after.as_secs_f32()), "closed after {after:?}");
    sleep(Duration::from_millis(100));
    assert_eq!(connecting(&lab), 0);
}
