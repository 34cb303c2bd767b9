//! How many connections there may be: the ones that are there go on, one more is reset and counted.

use std::io::Read as _;
use std::net::SocketAddr;

use netlab::header::{named_client, v1};
use netlab::{
    Backend, Client, Config, ConfigFile, Family, Foreword, Lab, PATIENCE, PORT, Reply, Rule, echo,
    join, lab, wait_until,
};

use crate::FOREWORD;
use crate::config_file::wait_for;
use crate::maps::refused;
use crate::talk::Talk;

/// Trusts the load balancer, and lets it stand for clients.
fn config(family: Family, limits: &str) -> Config {
    let rule = Rule::new("web", PORT).inbound("optional", [family.lb()]);
    let limits = format!("limits: {{ {limits} }}");
    Config::on("eth0").with("admin: { socket: none }").with(limits).rule(rule)
}

fn backend(lab: &Lab, family: Family) -> Backend {
    Backend::start(&lab.backend, (family.vip(), PORT).into(), echo)
}

fn connect(lab: &Lab, family: Family, backend: &Backend) -> Client {
    Client::connect(&lab.client, family.lb(), backend.address())
}

/// Whether a connection that says hello after `header` is served; if not, it was cut off, which the
/// client may learn as early as from its connect.
#[track_caller]
fn is_served(lab: &Lab, family: Family, backend: &Backend, header: &[u8]) -> bool {
    let Ok(mut client) = Client::try_connect(&lab.client, family.lb(), backend.address()) else {
        return false;
    };
    client.offer(&join(header, b"hello"));
    let reply = client.rest_after_offer();
    if reply == Reply::ended(b"hello") {
        return true;
    }
    reply.assert_cut("one that is not served");
    false
}

/// A connection after `header` that stays open, and is known to be served.
fn stay(lab: &Lab, family: Family, backend: &Backend, header: &[u8]) -> Client {
    let mut client = connect(lab, family, backend);
    client.send(&join(header, b"stay"));
    assert_eq!(client.receive(4), b"stay");
    client
}

#[apply(both_families)]
fn one_more_than_the_limit_is_reset(family: Family) {
    let lab = lab();
    let backend = backend(&lab, family);
    let file = ConfigFile::saying(config(family, "connections: 3"));
    let foreword = FOREWORD.run(&lab.node, &file);
    let limits = foreword.output();
    assert!(limits.contains("limits    3 connections at once ("), "{limits}");
    let talks: Vec<_> = (0..3).map(|_| Talk::begin(connect(&lab, family, &backend))).collect();
    for _ in 0..5 {
        assert!(!is_served(&lab, family, &backend, b""));
    }
    for talk in &talks {
        talk.assert_goes_on("at the limit");
    }
    wait_until(PATIENCE, "the count", || refused(&foreword, "connection-limit") == 5)
        .expect("they are counted");
    assert!(foreword.output().contains("reason=connection-limit"), "{}", foreword.output());
    talks.into_iter().next().expect("there are three").end();
    wait_until(PATIENCE, "a place", || is_served(&lab, family, &backend, b""))
        .expect("one has ended");
}

#[apply(both_families)]
fn a_client_has_its_own_limit(family: Family) {
    let lab = lab();
    let backend = backend(&lab, family);
    let file = ConfigFile::saying(config(family, "perSource: 2"));
    let foreword = FOREWORD.run(&lab.node, &file);
    let client = |port: u16| SocketAddr::new(named_client(family).ip(), port);
    let other = SocketAddr::new(family.stranger(), 1);
    let header = |client: SocketAddr| v1(client, backend.address());
    let one = stay(&lab, family, &backend, &header(client(1)));
    let _two = stay(&lab, family, &backend, &header(client(2)));
    assert!(!is_served(&lab, family, &backend, &header(client(3))));
    // Others are other clients, though they come by the same load balancer, or are it.
    assert!(is_served(&lab, family, &backend, &header(other)));
    for _ in 0..3 {
        assert!(is_served(&lab, family, &backend, b""));
    }
    wait_until(PATIENCE, "the count", || refused(&foreword, "source-limit") == 1)
        .expect("it is counted");
    assert_eq!(one.finish_and_rest(), Reply::ended(b""));
    let again = || is_served(&lab, family, &backend, &header(client(4)));
    wait_until(PATIENCE, "a place", again).expect("one has ended");
}

/// With as many descriptors as are enough for a few connections, more of them are refused in order,
/// and nothing stalls.
#[apply(both_families)]
fn too_few_files_are_no_fault(family: Family) {
    let lab = lab();
    let backend = backend(&lab, family);
    let config = ConfigFile::saying(config(family, ""));
    let mut command = lab.node.command("prlimit");
    command.arg("--nofile=244:244").arg(FOREWORD.path());
    let foreword = Foreword::run_by(command, config.path()).expect("it runs");
    let limits = foreword.output();
    assert!(
        limits.contains("limits    10 connections at once (244 files may be open)"),
        "{limits}"
    );
    let mut open: Vec<_> = (0..10).map(|_| stay(&lab, family, &backend, b"")).collect();
    for _ in 0..20 {
        assert!(!is_served(&lab, family, &backend, b""));
    }
    // Bulk on all of them at once: there are pipes for some.
    let bulk = vec![7; 300_000];
    for client in &mut open {
        client.send(&bulk[..100_000]);
        assert_eq!(client.receive(100_000), &bulk[..100_000]);
    }
    for client in open {
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    }
    wait_until(PATIENCE, "places", || is_served(&lab, family, &backend, b""))
        .expect("all have ended");
}

/// Twenty connections of clients in one /64 and in another, by the prefix that makes a client.
#[apply(lab_test)]
fn an_ipv6_network_is_one_client() {
    let family = Family::V6;
    let lab = lab();
    let backend = backend(&lab, family);
    let file = ConfigFile::saying(config(family, "perSource: 2"));
    let foreword = FOREWORD.run(&lab.node, &file);
    let client = |network: u16, number: u16| {
        SocketAddr::from(([0x2001, 0xdb8, 0, network, 0, 0, 0, number], 1000))
    };
    let mut networks = 0..;
    let mut served_of_two_networks = || {
        let [one, other] = [networks.next(), networks.next()].map(|network| network.unwrap_or(0));
        let mut open = Vec::new();
        let mut serve = |network| {
            let before = open.len();
            open.extend((0..20).filter_map(|number| {
                let mut talk = connect(&lab, family, &backend);
                talk.offer(&join(&v1(client(network, number), backend.address()), b"stay"));
                let is_served = talk.stream().read_exact(&mut [0; 4]).is_ok();
                is_served.then_some(talk)
            }));
            open.len() - before
        };
        (serve(one), serve(other))
    };
    assert_eq!(served_of_two_networks(), (2, 2));
    file.say(config(family, "perSource: 2, ipv6Prefix: 128"));
    wait_for(&foreword, "limits.ipv6Prefix: 64 → 128", 1);
    assert_eq!(served_of_two_networks(), (20, 20));
    // The next two numbers differ in their last bit only.
    file.say(config(family, "perSource: 2, ipv6Prefix: 63"));
    wait_for(&foreword, "limits.ipv6Prefix: 128 → 63", 1);
    assert_eq!(served_of_two_networks(), (2, 0));
}

#[apply(lab_test)]
fn a_reload_raises_the_limit() {
    let family = Family::V4;
    let lab = lab();
    let backend = backend(&lab, family);
    let file = ConfigFile::saying(config(family, "connections: 1"));
    let foreword = FOREWORD.run(&lab.node, &file);
    let _one = stay(&lab, family, &backend, b"");
    assert!(!is_served(&lab, family, &backend, b""));
    file.say(config(family, "connections: 2"));
    wait_for(&foreword, "limits.connections: 1 → 2", 1);
    assert!(is_served(&lab, family, &backend, b""));
}

#[apply(lab_test)]
fn what_files_do_not_allow_is_said() {
    let lab = lab();
    let mut command = lab.node.command("prlimit");
    command.arg("--nofile=1024:1024").arg(FOREWORD.path());
    let config = ConfigFile::saying(config(Family::V4, "connections: 16000"));
    let foreword = Foreword::run_by(command, config.path()).expect("it runs");
    let said = foreword.output();
    let warning = "warning   limits.connections: 16000: 1024 files may be open, which is enough for \
                   400; allow 32224 (LimitNOFILE= of systemd, or ulimit -n)";
    assert!(said.contains(warning), "{said}");
    assert!(said.contains("limits    400 connections at once"), "{said}");
}
