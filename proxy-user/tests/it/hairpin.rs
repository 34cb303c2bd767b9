//! Pods that connect to an address that leads back to their own node: with the pods' interfaces
//! protected, they are clients of their own, and the servers are told of them like of any other.

use std::net::SocketAddr;
use std::time::Duration;

use netlab::header::{named_client, named_destination, named_headers, v1};
use netlab::{Backend, Client, Family, Reply, Site, SiteAddresses, echo, join, site};

use crate::FOREWORD;
use crate::probe::assert_peer_is_named;
use crate::rules::{Form, NODE_PORT, SERVICE_PORT, TARGET_PORT};

const PODS: &str = "10.244.0.0/24,fd10:244::/64";

/// A service with both pods behind it, and servers in them.
fn service(family: Family) -> (Site, [Backend; 2]) {
    let at = SiteAddresses::of(family);
    let site = site();
    Form::Iptables.install_kube_proxy(&site, family);
    Form::Iptables.install_firewall(&site, family);
    let servers =
        [0, 1].map(|n| Backend::start(&site.pods[n], (at.pods[n], TARGET_PORT).into(), echo));
    (site, servers)
}

fn flags(more: &str) -> String {
    format!(
        "eth0 veth-pod* --port {SERVICE_PORT},{NODE_PORT} --inbound require \
         --trust 10.78.0.0/16,fd78::/64 --outbound v1 {more}"
    )
}

/// What a pod can aim at: the load balancer's address, and the node port.
fn ways_back(family: Family) -> [SocketAddr; 2] {
    let at = SiteAddresses::of(family);
    [(at.load_balancer, SERVICE_PORT).into(), (at.nics[0], NODE_PORT).into()]
}

#[apply(both_families)]
fn a_pod_is_named_even_where_headers_are_required(family: Family) {
    let at = SiteAddresses::of(family);
    let (site, _servers) = service(family);
    // The pods' range is within what is trusted, as where a whole private network is.
    let trusted = "--trust 10.0.0.0/8,fd00::/8";
    let _foreword = FOREWORD.attach(&site.node, &flags(&format!("{trusted} --hairpin {PODS}")));
    for destination in ways_back(family) {
        for (pod, address) in site.pods.iter().zip(at.pods) {
            assert_peer_is_named(pod, address, destination);
        }
        assert_load_balancer_is_served(&site, family, destination);
    }
}

/// Whatever is done for pods, the load balancer still sends a header.
fn assert_load_balancer_is_served(site: &Site, family: Family, destination: SocketAddr) {
    let [_, header] = named_headers(family);
    let mut client = Client::connect(&site.client, SiteAddresses::of(family).client, destination);
    client.send(&join(&header, b"hello"));
    let named = v1(named_client(family), named_destination(family));
    assert_eq!(client.finish_and_rest(), Reply::ended(&join(&named, b"hello")));
}

#[apply(both_families)]
fn a_pod_that_is_not_named_has_to_send_a_header(family: Family) {
    let at = SiteAddresses::of(family);
    let (site, servers) = service(family);
    let _foreword = FOREWORD.attach(&site.node, &flags("--guard off"));
    for destination in ways_back(family) {
        let mut client = Client::connect(&site.pods[0], at.pods[0], destination);
        client.offer(b"hello");
        client.rest_within(Duration::from_secs(2)).assert_cut("an untrusted pod");
    }
    assert!(servers.iter().all(|server| server.connections() == 0));
}

#[apply(both_families)]
fn a_pod_cannot_pass_for_another(family: Family) {
    let at = SiteAddresses::of(family);
    let (site, servers) = service(family);
    let _foreword = FOREWORD.attach(&site.node, &flags(&format!("--hairpin {PODS}")));
    let [line, block] = named_headers(family);
    let malformed =
        [&b"PROXY "[..], b"TCP6 ::ffff:198.51.100.7 ::ffff:192.0.2.44 1 2\r\n"].concat();
    for header in [line, block, malformed] {
        let mut client = Client::connect(&site.pods[0], at.pods[0], ways_back(family)[0]);
        client.offer(&join(&header, b"hello"));
        client.rest_within(Duration::from_secs(2)).assert_cut("a spoofed header");
    }
    assert!(servers.iter().all(|server| server.connections() == 0));
}
