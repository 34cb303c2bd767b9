//! Rules that share a port, and are told apart by the address that clients connect to.

use std::net::{IpAddr, SocketAddr};

use xtask::lab::{Family, Lab};

use crate::backend::{Backend, echo};
use crate::client::{Client, Reply};
use crate::config_file::{ConfigFile, wait_for};
use crate::scene::{PORT, lab};
use crate::talk::Talk;
use crate::wire::{join, v1};

both_families!(
    the_narrowest_range_decides,
    destinations_of_nobody_are_left_alone,
    a_destination_that_is_taken_away_keeps_its_connections,
    a_guard_is_one_destinations,
);

/// Rules for the port: each with a name, what it says of destinations, and the version that it
/// writes.
fn config(rules: &[(&str, String, &str)]) -> String {
    let rules = rules.iter().map(|(name, destinations, version)| {
        format!(
            "  - name: {name}\n    ports: [{PORT}]\n{destinations}    inbound: {{ mode: off }}\n    \
             outbound: {{ version: {version} }}\n"
        )
    });
    let rules: String = rules.collect();
    format!("admin: {{ socket: none }}\ninterfaces: [eth0]\nrules:\n{rules}")
}

fn only(range: &str) -> String {
    format!("    destinations: [\"{range}\"]\n")
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

fn the_narrowest_range_decides(family: Family) {
    let lab = lab();
    let (one, other) = (family.vip(), family.backend());
    let _foreword = ConfigFile::saying(&config(&[
        ("all", String::new(), "none"),
        ("around", only(&range(one, 8)), "none"),
        ("one", only(&range(one, 0)), "v1"),
    ]))
    .run(&lab);
    assert_eq!(went(&lab, family, one), Went::WithHeader);
    assert_eq!(went(&lab, family, other), Went::WithoutHeader);
}

fn destinations_of_nobody_are_left_alone(family: Family) {
    let lab = lab();
    let (one, other) = (family.vip(), family.backend());
    let _foreword = ConfigFile::saying(&config(&[("one", only(&range(one, 0)), "v1")])).run(&lab);
    assert_eq!(went(&lab, family, one), Went::WithHeader);
    assert_eq!(went(&lab, family, other), Went::Directly);
}

fn a_destination_that_is_taken_away_keeps_its_connections(family: Family) {
    let lab = lab();
    let (one, other) = (family.vip(), family.backend());
    let file = ConfigFile::saying(&config(&[("rule", only(&range(one, 0)), "none")]));
    let foreword = file.run(&lab);
    let backend = serve(&lab, one);
    let open = Talk::begin(Client::connect(&lab.client, family.lb(), backend.address()));
    file.say(&config(&[("rule", only(&range(other, 0)), "v1")]));
    wait_for(&foreword, "rules.rule.destinations: -", 1);
    open.assert_goes_on("without a rule for its destination");
    assert_eq!(went_to(&lab, family, &backend), Went::Directly);
    assert_eq!(went(&lab, family, other), Went::WithHeader);
    open.assert_goes_on("beside others");
    open.end();
}

/// What one rule turns away, another of the same port lets in.
fn a_guard_is_one_destinations(family: Family) {
    let lab = lab();
    let (one, other) = (family.vip(), family.backend());
    let text = config(&[("one", only(&range(one, 0)), "none"), ("all", String::new(), "none")]);
    let closed = format!("inbound: {{ mode: optional, trusted: [\"{}\"] }}", family.stranger());
    let _foreword =
        ConfigFile::saying(&text.replacen("inbound: { mode: off }", &closed, 1)).run(&lab);
    let backend = serve(&lab, one);
    let patience = std::time::Duration::from_millis(300);
    let refused = Client::try_connect_within(&lab.client, family.lb(), backend.address(), patience);
    assert!(refused.is_err(), "it is dropped before there is a connection");
    assert_eq!(went(&lab, family, other), Went::WithoutHeader);
}
