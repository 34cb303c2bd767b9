//! Upstreams that are down: whoever connects is refused at the first packet, as without Foreword, and
//! nobody is who aims at another one.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use netlab::header::{named_headers, v2_local};
use netlab::{
    Backend, Client, Config, Family, Foreword, Lab, OFF, PATIENCE, PORT, Reply, Rule, Scratch,
    echo, join, lab, output_of, swallow, wait_until,
};

use crate::FOREWORD;
use crate::admin::{Run, get};
use crate::hosts::Hosts;
use crate::maps::packets;

/// Whether somebody who connects to that address is refused by a reset.
#[track_caller]
fn is_refused(lab: &Lab, family: Family, to: IpAddr) -> bool {
    match Client::try_connect(&lab.client, family.lb(), (to, PORT).into()) {
        Ok(_) => false,
        // It was accepted, and is over already.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
            true
        }
    }
}

/// A connection whose upstream can't be reached, if it is accepted at all.
fn fail(lab: &Lab, family: Family, to: IpAddr, bytes: &[u8]) {
    if let Ok(mut client) = Client::try_connect(&lab.client, family.lb(), (to, PORT).into()) {
        client.offer(bytes);
        client.rest().assert_cut("a client without upstream");
    }
}

/// Fails until whoever connects is refused.
#[track_caller]
fn bring_down(lab: &Lab, family: Family, to: IpAddr, bytes: &[u8]) {
    let begin = Instant::now();
    for _ in 0..3 {
        fail(lab, family, to, bytes);
    }
    wait_until(PATIENCE, "a refusal", || is_refused(lab, family, to)).expect("it is refused");
    assert!(begin.elapsed() < Duration::from_secs(15), "refused after {:?}", begin.elapsed());
}

#[track_caller]
fn assert_comes_up(lab: &Lab, family: Family, to: IpAddr) {
    wait_until(PATIENCE, "a connection", || !is_refused(lab, family, to)).expect("it is up");
}

#[apply(both_families)]
fn a_check_that_only_connects_fails_while_the_upstream_is_down(family: Family) {
    let lab = lab();
    let rule = Rule::new("web", PORT).inbound("require", ["10.77.1.2", "fd77:1::2"]);
    let run = Run::start(&lab, Config::on("eth0").rule(rule));
    let (vip, headers) = (family.vip(), named_headers(family));
    assert!(!is_refused(&lab, family, vip), "nobody knows yet");
    // A health check of the load balancer's own ends like a client.
    let bytes = join(&headers[1], b"is anybody there?");
    bring_down(&lab, family, vip, &bytes);
    // However seldom it comes, and whoever it is.
    for _ in 0..8 {
        assert!(is_refused(&lab, family, vip));
        sleep(Duration::from_millis(400));
    }
    assert!(packets(&run.foreword, "refused_syn") >= 8);
    let status = String::from_utf8_lossy(&run.ask("status").stdout).into_owned();
    let down = format!(": {} (upstream-refused)", SocketAddr::new(vip, PORT));
    assert!(status.contains("DOWN for ") && status.contains(&down), "{status}");
    let metrics = get(&lab, "/metrics").1;
    assert!(metrics.contains("foreword_upstreams_down{rule=\"web\"} 1"), "{metrics}");

    let backend = Backend::start(&lab.backend, (vip, PORT).into(), echo);
    assert_comes_up(&lab, family, vip);
    let mut client = Client::connect(&lab.client, family.lb(), backend.address());
    client.send(&join(&headers[1], b"hello"));
    assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
    assert!(run.foreword.output().contains("an upstream is up again"), "{}", run.foreword.output());
    let metrics = get(&lab, "/metrics").1;
    assert!(metrics.contains("foreword_upstreams_down{rule=\"web\"} 0"), "{metrics}");
}

fn plain(lab: &Lab, flags: &str) -> Foreword {
    FOREWORD.attach(&lab.node, &format!("eth0 --port {PORT} {OFF} --outbound none {flags}"))
}

#[apply(both_families)]
fn a_fixed_upstream_that_is_down_closes_its_rule(family: Family) {
    let lab = lab();
    let upstream = SocketAddr::new(family.backend(), 8080);
    let _foreword = plain(&lab, &format!("--upstream {upstream}"));
    bring_down(&lab, family, family.vip(), b"hello");
    assert!(is_refused(&lab, family, family.backend()), "whatever is aimed at");
    let backend = Backend::start(&lab.backend, upstream, swallow);
    assert_comes_up(&lab, family, family.vip());
    drop(Client::connect(&lab.client, family.lb(), (family.vip(), PORT).into()));
    wait_until(PATIENCE, "the trial", || backend.connections() > 0).expect("it was accepted");
    assert!(backend.received(0).is_empty(), "a trial brings nothing");
}

#[apply(both_families)]
fn an_upstream_that_does_not_answer_is_down(family: Family) {
    let lab = lab();
    let _foreword = plain(&lab, "--connect-timeout 1s");
    let (option, node) = (family.ip_option(), family.node_back());
    let route = format!("blackhole {node}/{}", family.host_prefix());
    lab.backend.ip(&format!("{option} route add {route}")).expect("the route is new");
    let _backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    bring_down(&lab, family, family.vip(), b"hello");
    lab.backend.ip(&format!("{option} route del {route}")).expect("the route is there");
    assert_comes_up(&lab, family, family.vip());
}

#[apply(both_families)]
fn a_server_that_is_down_does_not_close_its_neighbours(family: Family) {
    let lab = lab();
    let foreword = plain(&lab, "");
    let neighbour = Backend::start(&lab.backend, (family.backend(), PORT).into(), echo);
    bring_down(&lab, family, family.vip(), b"hello");
    for _ in 0..5 {
        assert!(is_refused(&lab, family, family.vip()));
        let mut client = Client::connect(&lab.client, family.lb(), neighbour.address());
        client.send(b"hello");
        assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
    }
    assert_eq!(neighbour.recording(0).peer.ip(), family.node_back(), "it is proxied");
    drop(foreword);
}

/// One that has gone before its upstream has answered says nothing of that.
#[apply(both_families)]
fn clients_that_leave_early_bring_nothing_down(family: Family) {
    let lab = lab();
    let foreword = plain(&lab, "--connect-timeout 30s");
    let (option, node) = (family.ip_option(), family.node_back());
    let lost = format!("{option} route add blackhole {node}/{}", family.host_prefix());
    lab.backend.ip(&lost).expect("the route is new");
    for _ in 0..10 {
        let mut client = Client::connect(&lab.client, family.lb(), (family.vip(), PORT).into());
        client.send(b"hello");
        client.reset();
    }
    // Longer than it would take.
    for _ in 0..10 {
        sleep(Duration::from_millis(300));
        assert!(!is_refused(&lab, family, family.vip()));
    }
    assert!(!foreword.output().contains("is down"), "{}", foreword.output());
}

/// With the client's address towards the upstream, and an upstream that does not like it.
#[apply(both_families)]
fn a_client_that_the_upstream_refuses_closes_nothing_for_others(family: Family) {
    let scene = FOREWORD.scene_serving(
        family,
        &[OFF, "--outbound none --source client --upstream-interface eth1"],
        echo,
    );
    let ip = if family == Family::V4 { "ip" } else { "ip6" };
    let scratch = Scratch::new();
    let table = format!(
        "table inet picky {{\nchain input {{\ntype filter hook input priority 0;\n\
         {ip} saddr {} tcp dport {PORT} reject with tcp reset\n}}\n}}\n",
        family.stranger()
    );
    let mut nft = scene.lab.backend.command("nft");
    nft.arg("--file").arg(scratch.write("picky", &table));
    output_of(nft);
    for _ in 0..12 {
        let from = family.stranger();
        if let Ok(mut refused) = Client::try_connect(&scene.lab.client, from, scene.vip()) {
            refused.offer(b"hello");
            refused.rest().assert_cut("a client that the upstream refuses");
        }
        sleep(Duration::from_millis(250));
    }
    let mut client = scene.connect();
    client.send(b"hello");
    assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
    assert!(!scene.foreword.output().contains("is down"), "{}", scene.foreword.output());
}

#[apply(both_families)]
fn where_it_is_accepted_nothing_is_refused(family: Family) {
    let lab = lab();
    let foreword = plain(&lab, "--when-down accept");
    let down = || foreword.output().contains("an upstream is down");
    wait_until(PATIENCE, "an upstream that is down", || {
        assert!(!is_refused(&lab, family, family.vip()));
        fail(&lab, family, family.vip(), b"hello");
        down()
    })
    .expect("it is known");
    assert!(!is_refused(&lab, family, family.vip()));
}

/// A load balancer's check that says LOCAL: it brings its upstream down as a client's connection does, and
/// it is refused like one.
#[apply(both_families)]
fn a_local_check_fails_while_the_upstream_is_down(family: Family) {
    let lab = lab();
    let rule = Rule::new("web", PORT).inbound("require", ["10.77.1.2", "fd77:1::2"]);
    let run = Run::start(&lab, Config::on("eth0").rule(rule));
    bring_down(&lab, family, family.vip(), &v2_local());
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    assert_comes_up(&lab, family, family.vip());
    let mut check = Client::connect(&lab.client, family.lb(), backend.address());
    check.send(&v2_local());
    assert_eq!(check.finish_and_rest(), Reply::ended(b""));
    drop(run);
}

#[apply(both_families)]
fn a_name_is_down_when_all_its_addresses_are(family: Family) {
    let lab = lab();
    let (one, other) = (family.backend(), family.vip());
    let hosts = Hosts::saying(&format!("{one} app.test\n{other} app.test\n"));
    let rule = Rule::new("web", PORT).with("upstream: { address: \"app.test:8080\" }");
    let run = Run::by(hosts.command(&lab.node), Config::on("eth0").rule(rule));
    bring_down(&lab, family, family.vip(), b"hello");
    let backend = Backend::start(&lab.backend, (other, 8080).into(), echo);
    assert_comes_up(&lab, family, family.vip());
    // The other one is still down, and that closes nothing.
    for _ in 0..5 {
        let mut client = Client::connect(&lab.client, family.lb(), (family.vip(), PORT).into());
        client.send(b"hello");
        assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
        sleep(Duration::from_millis(400));
    }
    drop(backend);
    bring_down(&lab, family, family.vip(), b"hello");
    drop(run);
}

/// With the client's address towards the upstream, what fails may be due to it: whoever asks ten seconds
/// later is let through to see.
#[apply(both_families)]
fn a_failure_that_may_be_one_clients_closes_nothing_for_long(family: Family) {
    let lab = lab();
    let foreword = plain(&lab, "--source client --upstream-interface eth1");
    bring_down(&lab, family, family.vip(), b"hello");
    let begin = Instant::now();
    let is_up = || !is_refused(&lab, family, family.vip());
    wait_until(Duration::from_secs(30), "a connection", is_up).expect("it may be tried again");
    assert!(begin.elapsed() > Duration::from_secs(5), "after {:?}", begin.elapsed());
    let said = foreword.output();
    assert!(said.contains("clients may try an upstream again"), "{said}");
}
