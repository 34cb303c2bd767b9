//! A VLAN sub-interface is protected like any other, and its parent is left alone.
//!
//! Not every kernel that these tests run on has VLAN devices, so they are ignored unless asked for,
//! as `cargo xtask kernels` does.

use std::net::{IpAddr, SocketAddr};

use netlab::header::{named_client, named_destination, named_headers, v1};
use netlab::{
    Backend, Client, Family, Lab, PATIENCE, PORT, REQUIRE, Reply, echo, hooks, join, lab,
    wait_until,
};

use crate::FOREWORD;
use crate::probe::flows_directly_from;

/// The two ends of the VLAN: the client's, which is trusted, and the node's.
fn ends(family: Family) -> [IpAddr; 2] {
    let ends = match family {
        Family::V4 => ["10.77.5.2", "10.77.5.1"],
        Family::V6 => ["fd77:5::2", "fd77:5::1"],
    };
    ends.map(|address| address.parse().expect("a literal address"))
}

/// Adds `eth0.5` on both sides of the link between client and node. The client takes it to the VIP;
/// to the backend's own address it goes untagged, as before.
fn add_vlan(lab: &Lab, family: Family) {
    let [client, node] = ends(family);
    for (netns, address) in [(&lab.client, client), (&lab.node, node)] {
        netns.ip("link add link eth0 name eth0.5 type vlan id 5").expect("8021q is there");
        netns.ip("link set eth0.5 up").expect("its parent is up");
        netns.add_address("eth0.5", address, family.link_prefix()).expect("the address is new");
    }
    let route = format!("{} route add {} via {node}", family.ip_option(), family.vip());
    lab.client.ip(&route).expect("the node is on the link");
}

/// An echo at the end of each way: by the VLAN, and untagged.
fn echoes(lab: &Lab, family: Family) -> [Backend; 2] {
    [family.vip(), family.backend()]
        .map(|address| Backend::start(&lab.backend, SocketAddr::new(address, PORT), echo))
}

/// Asserts that a trusted source's header is read, and another one written.
fn assert_proxied(lab: &Lab, source: IpAddr, backend: &Backend, family: Family) {
    let [_, inbound] = named_headers(family);
    let mut connection = Client::connect(&lab.client, source, backend.address());
    connection.send(&join(&inbound, b"hello"));
    let header = v1(named_client(family), named_destination(family));
    assert_eq!(connection.finish_and_rest(), Reply::ended(&join(&header, b"hello")));
}

fn assert_direct(lab: &Lab, source: IpAddr, backend: &Backend) {
    wait_until(PATIENCE, "a direct connection", || flows_directly_from(source, lab, backend))
        .expect("nobody is in its way");
}

#[apply(both_families)]
#[ignore = "needs VLAN devices: cargo xtask kernels"]
fn a_vlan_is_protected_and_its_parent_is_not(family: Family) {
    for hook in hooks() {
        let lab = lab();
        add_vlan(&lab, family);
        let [tagged, untagged] = echoes(&lab, family);
        let [client, _] = ends(family);
        let flags = format!("--port {PORT} --inbound require --trust {client} --outbound v1");
        let _foreword = FOREWORD.attach(&lab.node, &format!("eth0.5 {flags} --hook {hook}"));
        assert_proxied(&lab, client, &tagged, family);
        assert_direct(&lab, family.lb(), &untagged);
    }
}

/// The kernel takes a tag off before the parent's programs see the packet.
#[apply(both_families)]
#[ignore = "needs VLAN devices: cargo xtask kernels"]
fn a_parent_is_protected_and_its_vlan_is_not(family: Family) {
    for hook in hooks() {
        let lab = lab();
        add_vlan(&lab, family);
        let [tagged, untagged] = echoes(&lab, family);
        // From the VLAN's own address: whoever is answered untagged meets the parent's second wall.
        let [client, _] = ends(family);
        assert_direct(&lab, client, &tagged);
        let _foreword = FOREWORD.attach(
            &lab.node,
            &format!("eth0 --port {PORT} {REQUIRE} --outbound v1 --hook {hook}"),
        );
        assert_proxied(&lab, family.lb(), &untagged, family);
        assert_direct(&lab, client, &tagged);
    }
}
