//! Rules that share a port, and are told apart by the address that clients connect to.

use std::net::{IpAddr, SocketAddr};

use netlab::header::v1;
use netlab::{
    Backend, Client, Config, ConfigFile, Family, Lab, PORT, Reply, Rule, echo, join, lab,
};

use crate::FOREWORD;
use crate::config_file::wait_for;
use crate::talk::Talk;

/// A configuration of these rules.
fn config(rules: impl IntoIterator<Item = Rule>) -> Config {
    Config::on("eth0").with("admin: { socket: none }").rules(rules)
}

/// A rule for the port that writes headers of this version.
fn rule(name: &str, version: &str) -> Rule {
    Rule::new(name, PORT).outbound(version)
}

/// A rule for these destinations only.
fn only(range: &str, name: &str, version: &str) -> Rule {
    rule(name, version).with(format!("destinations: [\"{range}\"]"))
}

/// The range of one address, or one around it.
fn range(address: IpAddr, wider_by: u8) -> String {
    let (bits, whole) = match address {
        IpAddr::V4(address) => (32, u128::from(u32::from(address))),
        IpAddr::V6(address) => (128, u128::from(address)),
    };
    let network = whole >> wider_by << wider_by;
    let network: IpAddr = match address {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(network).expect("it was one").into()),
        IpAddr::V6(_) => IpAddr::V6(network.into()),
    };
    format!("{network}/{}", bits - wider_by)
}

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
enum Went {
    /// Through Foreword, with a v1 header.
    WithHeader,
    /// Through Foreword, without one.
    WithoutHeader,
    /// As if there were no Foreword.
    Directly,
}

fn went(lab: &Lab, family: Family, to: IpAddr) -> Went {
    went_to(lab, family, &serve(lab, to))
}

fn serve(lab: &Lab, at: IpAddr) -> Backend {
    Backend::start(&lab.backend, SocketAddr::new(at, PORT), echo)
}

fn went_to(lab: &Lab, family: Family, backend: &Backend) -> Went {
    let number = backend.connections();
    let mut client = Client::connect(&lab.client, family.lb(), backend.address());
    let header = v1(client.address(), backend.address());
    client.send(b"hello");
    let reply = client.finish_and_rest();
    let peer = backend.recording(number).peer.ip();
    match peer == family.node_back() {
        true if reply == Reply::ended(&join(&header, b"hello")) => Went::WithHeader,
        true if reply == Reply::ended(b"hello") => Went::WithoutHeader,
        false if reply == Reply::ended(b"hello") && peer == family.lb() => Went::Directly,
        _ => panic!("{reply:?} from {peer}"),
    }
}

#[apply(both_families)]
fn the_narrowest_range_decides(family: Family) {
    let lab = lab();
    let (one, other) = (family.vip(), family.backend());
    let file = ConfigFile::saying(config([
        rule("all", "none"),
        only(&range(one, 8), "around", "none"),
        only(&range(one, 0), "one", "v1"),
    ]));
    let _foreword = FOREWORD.run(&lab.node, &file);
    assert_eq!(went(&lab, family, one), Went::WithHeader);
    assert_eq!(went(&lab, family, other), Went::WithoutHeader);
}

#[apply(both_families)]
fn destinations_of_nobody_are_left_alone(family: Family) {
    let lab = lab();
    let (one, other) = (family.vip(), family.backend());
    let file = ConfigFile::saying(config([only(&range(one, 0), "one", "v1")]));
    let _foreword = FOREWORD.run(&lab.node, &file);
    assert_eq!(went(&lab, family, one), Went::WithHeader);
    assert_eq!(went(&lab, family, other), Went::Directly);
}

#[apply(both_families)]
fn a_destination_that_is_taken_away_keeps_its_connections(family: Family) {
    let lab = lab();
    let (one, other) = (family.vip(), family.backend());
    let file = ConfigFile::saying(config([only(&range(one, 0), "rule", "none")]));
    let foreword = FOREWORD.run(&lab.node, &file);
    let backend = serve(&lab, one);
    let open = Talk::begin(Client::connect(&lab.client, family.lb(), backend.address()));
    file.say(config([only(&range(other, 0), "rule", "v1")]));
    wait_for(&foreword, "rules.rule.destinations: -", 1);
    open.assert_goes_on("without a rule for its destination");
    assert_eq!(went_to(&lab, family, &backend), Went::Directly);
    assert_eq!(went(&lab, family, other), Went::WithHeader);
    open.assert_goes_on("beside others");
    open.end();
}

/// What one rule turns away, another of the same port lets in.
#[apply(both_families)]
fn a_guard_is_one_destinations(family: Family) {
    let lab = lab();
    let (one, other) = (family.vip(), family.backend());
    let closed = only(&range(one, 0), "one", "none").inbound("optional", [family.stranger()]);
    let file = ConfigFile::saying(config([closed, rule("all", "none")]));
    let _foreword = FOREWORD.run(&lab.node, &file);
    let backend = serve(&lab, one);
    let patience = std::time::Duration::from_millis(300);
    let refused = Client::try_connect_within(&lab.client, family.lb(), backend.address(), patience);
    assert!(refused.is_err(), "it is dropped before there is a connection");
    assert_eq!(went(&lab, family, other), Went::WithoutHeader);
}
