//! Loopback sources go through byte for byte, whatever is attached where: no header is expected
//! of them, and none is written.

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;

use netlab::header::{named_headers, v1};
use netlab::{
    Backend, Client, Family, Lab, OFF, PORT, REQUIRE, Reply, SEGMENT_GAP, assert_same_bytes, echo,
    join, lab,
};

use crate::FOREWORD;
use crate::probe::assert_served;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// Each of these is payload when it comes from loopback, the ones that look like headers too.
fn assert_unchanged(lab: &Lab, backend: &Backend, address: IpAddr, family: Family) {
    let [line, block] = named_headers(family);
    for (number, payload) in [REQUEST, &line, &block, b""].into_iter().enumerate() {
        let mut client = Client::connect(&lab.node, address, backend.address());
        client.send(payload);
        assert_eq!(client.finish_and_rest(), Reply::ended(payload));
        assert_same_bytes(&backend.received(number), payload);
        assert_eq!(backend.recording(number).peer.ip(), address);
    }
    assert_eq!(backend.connections(), 4);
}

/// A backend for the load balancer, behind the node.
fn behind(lab: &Lab, family: Family) -> Backend {
    Backend::start(&lab.backend, SocketAddr::new(family.vip(), PORT), echo)
}

#[apply(both_families)]
fn a_loopback_client_is_left_alone(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.node, SocketAddr::new(family.loopback(), PORT), echo);
    let _foreword =
        FOREWORD.attach(&lab.node, &format!("eth0 --port {PORT} {REQUIRE} --outbound v1"));
    assert_unchanged(&lab, &backend, family.loopback(), family);
    assert_served(&lab, &behind(&lab, family), family);
}

#[apply(both_families)]
fn a_loopback_client_is_left_alone_by_foreword_on_lo(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.node, SocketAddr::new(family.loopback(), PORT), echo);
    let _foreword =
        FOREWORD.attach(&lab.node, &format!("eth0 lo --port {PORT} {REQUIRE} --outbound v1"));
    assert_unchanged(&lab, &backend, family.loopback(), family);
    assert_served(&lab, &behind(&lab, family), family);
}

/// A client on the node that uses the node's own address never meets `eth0`'s ingress.
#[apply(both_families)]
fn a_node_local_client_is_left_alone(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.node, SocketAddr::new(family.node(), PORT), echo);
    let _foreword =
        FOREWORD.attach(&lab.node, &format!("eth0 --port {PORT} {REQUIRE} --outbound v1"));
    assert_unchanged(&lab, &backend, family.node(), family);
    assert_served(&lab, &behind(&lab, family), family);
}

/// With `lo` attached, it is a client like any other. Our own connection to the upstream passes
/// `lo` as well, and must be let by: one header, one connection at the backend.
#[apply(both_families)]
fn a_node_local_client_does_not_loop_on_lo(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.node, SocketAddr::new(family.node(), PORT), echo);
    let _foreword =
        FOREWORD.attach(&lab.node, &format!("eth0 lo --port {PORT} {OFF} --outbound v1"));
    let mut client = Client::connect(&lab.node, family.node(), backend.address());
    let expected = join(&v1(client.address(), backend.address()), REQUEST);
    client.send(REQUEST);
    assert_eq!(client.finish_and_rest(), Reply::ended(&expected));
    assert_same_bytes(&backend.received(0), &expected);
    sleep(SEGMENT_GAP);
    assert_eq!(backend.connections(), 1);
}

#[apply(both_families)]
fn a_destination_on_the_node_is_served_while_lo_is_attached(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.node, SocketAddr::new(family.node(), PORT), echo);
    let _foreword =
        FOREWORD.attach(&lab.node, &format!("eth0 lo --port {PORT} {REQUIRE} --outbound v1"));
    assert_served(&lab, &backend, family);
    assert_eq!(backend.connections(), 1);
}
