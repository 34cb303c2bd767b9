//! Connections that are there before Foreword is: they go on untouched while it attaches, serves
//! others on the same ports, detaches or dies.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use netlab::{
    Backend, Client, Family, Foreword, OFF, Recording, Reply, Site, SiteAddresses, echo, site,
};

use crate::FOREWORD;
use crate::maps::packets;
use crate::probe::{assert_peer_is_named, cleanup};
use crate::rules::{Form, NODE_PORT, SERVICE_PORT, TARGET_PORT};
use crate::talk::Talk;

#[apply(both_families)]
fn they_outlive_tcx(family: Family) {
    assert_untouched(family, "tcx", stop);
}

#[apply(both_families)]
fn they_outlive_a_kill_of_tcx(family: Family) {
    assert_untouched(family, "tcx", kill);
}

#[apply(both_families)]
fn they_outlive_clsact(family: Family) {
    assert_untouched(family, "clsact", stop);
}

#[apply(both_families)]
fn they_outlive_a_kill_of_clsact(family: Family) {
    assert_untouched(family, "clsact", kill);
}

fn stop(foreword: &mut Foreword) {
    assert_eq!(foreword.terminate().expect("it ends after SIGTERM").code(), Some(0));
}

fn kill(foreword: &mut Foreword) {
    foreword.kill().expect("it runs");
}

/// Each of them talks while Foreword comes and goes, twice.
fn assert_untouched(family: Family, hook: &str, end: impl Fn(&mut Foreword)) {
    let site = site();
    let existing = one_of_each_kind(&site, family);
    let flags = format!("eth0 --port {SERVICE_PORT},{NODE_PORT} {OFF} --outbound v1 --hook {hook}");
    for _ in 0..2 {
        let mut foreword = FOREWORD.attach(&site.node, &flags);
        for connection in &existing {
            connection.assert_goes_on("attached");
            assert_peer_is_named(&site.client, SiteAddresses::of(family).client, connection.to);
            connection.assert_goes_on("another one is served");
        }
        assert!(packets(&foreword, "passed") > 0, "it let them by");
        end(&mut foreword);
        for connection in &existing {
            connection.assert_goes_on("gone");
        }
        cleanup(&site.node);
        for connection in &existing {
            connection.assert_goes_on("swept");
        }
    }
    for connection in existing {
        connection.assert_accounted_for();
    }
}

/// Forwarded to a pod, served on the node, and led to a pod by kube-proxy.
fn one_of_each_kind(site: &Site, family: Family) -> Vec<Existing> {
    let at = SiteAddresses::of(family);
    Form::Iptables.install_kube_proxy(site, family);
    let forwarded = Backend::start(&site.pods[0], (at.vip, SERVICE_PORT).into(), echo);
    let local = Backend::start(&site.node, (at.nics[0], SERVICE_PORT).into(), echo);
    let endpoints =
        [0, 1].map(|n| Backend::start(&site.pods[n], (at.pods[n], TARGET_PORT).into(), echo));
    let (to_pod, to_node) = (forwarded.address(), local.address());
    vec![
        Existing::begin(site, at.client, "forwarded", to_pod, vec![forwarded]),
        Existing::begin(site, at.client, "on the node", to_node, vec![local]),
        Existing::begin(site, at.client, "DNAT", (at.nics[0], NODE_PORT).into(), endpoints.into()),
    ]
}

/// A connection without Foreword.
struct Existing {
    kind: &'static str,
    to: SocketAddr,
    talk: Talk,
    /// What arrives at the server that it was led to.
    recording: Arc<Recording>,
    _servers: Vec<Backend>,
}

impl Existing {
    /// `servers` are those that a connection to this address can be led to.
    fn begin(
        site: &Site,
        client: IpAddr,
        kind: &'static str,
        to: SocketAddr,
        servers: Vec<Backend>,
    ) -> Self {
        let talk = Talk::begin(Client::connect(&site.client, client, to));
        let server = servers.iter().find(|server| server.connections() == 1);
        let recording = server.expect("one of them answered").recording(0);
        Self { kind, to, talk, recording, _servers: servers }
    }

    #[track_caller]
    fn assert_goes_on(&self, when: &str) {
        self.talk.assert_goes_on(&format!("{}, {when}", self.kind));
    }

    /// Ends it, and finds at the server what was sent, no byte more or less.
    fn assert_accounted_for(self) {
        let sent = self.talk.end();
        assert!(self.recording.at_end() == Reply::ended(&sent), "{}: other bytes", self.kind);
    }
}
