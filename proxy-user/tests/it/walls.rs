//! What gets past one wall meets another: answers that steering did not make, addresses that came in
//! by the wrong interface, and segments that only look like a connection's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netlab::header::{named_client, named_destination, named_headers, v1};
use netlab::{
    Backend, Client, Family, Foreword, OFF, PATIENCE, PORT, Reply, Scratch, Site, SiteAddresses,
    echo, hooks, join, output_of, site, wait_until,
};

use crate::FOREWORD;
use crate::counters::Counters;
use crate::maps::dropped;

/// A site where clients come in by one card, and the node's routes lead back by another.
fn crossed(family: Family, way_in: usize, way_back: usize) -> (Site, Backend) {
    let at = SiteAddresses::of(family);
    let site = site();
    site.enter_by(family, way_in).expect("the router knows the node");
    site.answer_by(family, way_back).expect("the node knows the router");
    let server = Backend::start(&site.pods[0], (at.vip, PORT).into(), echo);
    (site, server)
}

fn require(family: Family) -> String {
    let trusted = SiteAddresses::of(family).client;
    format!("--port {PORT} --inbound require --trust {trusted} --outbound v1")
}

/// Asserts that the client's first packets come to nothing.
fn assert_no_answer(site: &Site, server: &Backend, family: Family, why: &str) {
    let client = SiteAddresses::of(family).client;
    let patience = Duration::from_millis(1500);
    let attempt = Client::try_connect_within(&site.client, client, server.address(), patience);
    assert!(attempt.is_err(), "{why}: {} answered", server.address());
}

fn assert_served(site: &Site, server: SocketAddr, family: Family) {
    let [_, header] = named_headers(family);
    let mut client = Client::connect(&site.client, SiteAddresses::of(family).client, server);
    client.send(&join(&header, b"hello"));
    let named = v1(named_client(family), named_destination(family));
    assert_eq!(client.finish_and_rest(), Reply::ended(&join(&named, b"hello")));
}

/// In by a card that nobody protects, answered by one that somebody does.
#[apply(both_families)]
fn an_answer_past_us_is_dropped(family: Family) {
    for hook in hooks() {
        let (site, server) = crossed(family, 1, 0);
        let foreword =
            FOREWORD.attach(&site.node, &format!("eth0 {} --hook {hook}", require(family)));
        assert_no_answer(&site, &server, family, hook);
        assert!(dropped(&foreword, "unsteered-answer") > 0, "{hook}");
        let advice = "write --guard-answers off";
        let said = wait_until(PATIENCE, advice, || foreword.output().contains(advice));
        said.unwrap_or_else(|error| panic!("{hook}: {error}: {}", foreword.output()));

        site.enter_by(family, 0).expect("the router knows the node");
        assert_served(&site, server.address(), family);
        // Nothing of it outlives the process.
        drop(foreword);
        let direct =
            Client::connect(&site.client, SiteAddresses::of(family).client, server.address());
        drop(direct);
    }
}

#[apply(both_families)]
fn an_answer_past_us_can_be_allowed(family: Family) {
    let (site, server) = crossed(family, 1, 0);
    let flags = format!("eth0 {} --guard-answers off", require(family));
    let _foreword = FOREWORD.attach(&site.node, &flags);
    let client = Client::connect(&site.client, SiteAddresses::of(family).client, server.address());
    drop(client);
}

fn attach_both_cards(site: &Site, flags: &str) -> Foreword {
    FOREWORD.attach(&site.node, &format!("eth0 eth1 --reply arrival {flags}"))
}

/// Later segments may come by another card, and anybody can send some that look so.
#[apply(both_families)]
fn replies_stay_with_the_card_that_the_connection_came_in_by(family: Family) {
    let at = SiteAddresses::of(family);
    for hook in hooks() {
        let (site, server) = crossed(family, 0, 0);
        let _foreword =
            attach_both_cards(&site, &format!("--port {PORT} {OFF} --outbound none --hook {hook}"));
        let mut client = Client::connect(&site.client, at.client, server.address());
        client.send(b"one ");
        assert_eq!(client.receive(4), b"one ");
        site.enter_by(family, 1).expect("the router knows the node");
        let by_1 = format!("iifname node1 tcp sport {PORT}");
        let seen = Counters::new(&site.router, "forward", &[("by_1", &by_1)]);
        client.send(b"two ");
        assert_eq!(client.receive(4), b"two ");
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        assert_eq!(seen.packets("by_1"), 0, "{hook}");
    }
}

/// A router is replaced, or its card is: the same way, by another link-layer address.
#[apply(both_families)]
fn replies_follow_a_gateway_whose_address_changes(family: Family) {
    let at = SiteAddresses::of(family);
    for hook in hooks() {
        let (site, server) = crossed(family, 1, 0);
        let _foreword =
            attach_both_cards(&site, &format!("--port {PORT} {OFF} --outbound none --hook {hook}"));
        let mut client = Client::connect(&site.client, at.client, server.address());
        client.send(b"one ");
        assert_eq!(client.receive(4), b"one ");
        for address in ["02:00:00:00:07:01", "02:00:00:00:07:02"] {
            let changed = format!("link set node1 address {address}");
            site.router.ip(&changed).expect("root may set it");
            client.send(b"two ");
            assert_eq!(client.receive(4), b"two ", "{hook}: by {address}");
        }
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    }
}

/// Whoever is on the link can send segments with a connection's ends and its own link-layer address, and
/// does not know where the connection stands.
#[apply(both_families)]
fn replies_do_not_follow_segments_that_only_look_so(family: Family) {
    let at = SiteAddresses::of(family);
    let (site, server) = crossed(family, 1, 0);
    let spoken = Arc::new(AtomicBool::new(false));
    drop(server);
    let may_speak = Arc::clone(&spoken);
    let server = Backend::start(&site.pods[0], (at.vip, PORT).into(), move |served| {
        served.read();
        served.send(b"one ");
        let waited = wait_until(PATIENCE, "the word", || may_speak.load(Ordering::Relaxed));
        waited.expect("it comes");
        served.send(b"two ");
        served.read_to_end();
    });
    let _foreword = attach_both_cards(&site, &format!("--port {PORT} {OFF} --outbound none"));
    let mut client = Client::connect(&site.client, at.client, server.address());
    client.send(b"hello");
    assert_eq!(client.receive(4), b"one ");
    let scratch = Scratch::new();
    let script = scratch.write("forge.py", include_str!("walls/forge.py"));
    let mut forge = site.router.command("python3");
    forge.arg(script).arg("node1").arg(link_address(&site));
    for end in [client.address(), server.address()] {
        forge.arg(end.ip().to_string()).arg(end.port().to_string());
    }
    output_of(forge);
    // The client says nothing meanwhile, by which the way could be found again.
    spoken.store(true, Ordering::Relaxed);
    assert_eq!(client.receive(4), b"two ");
}

/// Of the node's second card.
fn link_address(site: &Site) -> String {
    site.node.run(|| {
        let mut show = std::process::Command::new("ip");
        show.args(["-json", "link", "show", "dev", "eth1"]);
        let shown: serde_json::Value =
            serde_json::from_str(&output_of(show)).expect("ip writes JSON");
        shown[0]["address"].as_str().expect("a card has one").to_owned()
    })
}

/// The routing table knows where a trusted source is, and that it is not there.
#[apply(both_families)]
fn a_trusted_address_on_another_interface_is_not_believed(family: Family) {
    for hook in hooks() {
        let (site, server) = crossed(family, 1, 0);
        let foreword = attach_both_cards(&site, &format!("{} --hook {hook}", require(family)));
        assert_no_answer(&site, &server, family, hook);
        assert!(dropped(&foreword, "source-interface") > 0, "{hook}");
        site.enter_by(family, 0).expect("the router knows the node");
        assert_served(&site, server.address(), family);
    }
}

#[apply(both_families)]
fn a_trusted_interface_is_believed(family: Family) {
    let (site, server) = crossed(family, 1, 0);
    let flags = format!("{} --trusted-interface eth1", require(family));
    let _foreword = attach_both_cards(&site, &flags);
    assert_served(&site, server.address(), family);
}

/// A range of pods that is wider than this node's says nothing of who comes in from outside.
#[apply(both_families)]
fn a_pods_address_on_another_interface_is_no_pod(family: Family) {
    let at = SiteAddresses::of(family);
    let everybody = if family == Family::V4 { "0.0.0.0/0" } else { "::/0" };
    for guard in ["on", "off"] {
        let (site, server) = crossed(family, 0, 0);
        let trusted = at.client;
        let flags = format!(
            "eth0 veth-pod* --port {PORT} --inbound require --trust {trusted} --outbound v1 \
             --hairpin {everybody} --guard {guard}"
        );
        let _foreword = FOREWORD.attach(&site.node, &flags);
        let mut without = Client::connect(&site.client, at.client, server.address());
        without.offer(b"hello, without a header");
        without.rest_within(PATIENCE).assert_cut("no header");
        assert_eq!(server.connections(), 0, "guard {guard}");
        assert_served(&site, server.address(), family);
        // A pod of this node's needs none.
        let mut pod = Client::connect(&site.pods[1], at.pods[1], server.address());
        let address = pod.address();
        pod.send(b"hello");
        let named = v1(address, server.address());
        assert_eq!(pod.finish_and_rest(), Reply::ended(&join(&named, b"hello")), "guard {guard}");
    }
}
