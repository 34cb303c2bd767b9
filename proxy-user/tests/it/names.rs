//! Upstreams' names: nobody waits for a resolver that hangs, and a name is followed when it comes to stand
//! for another address.

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use netlab::{
    Backend, Client, Config, Daemon, Family, Lab, OFF, PATIENCE, PORT, Reply, Rule, echo, lab,
    output_of, wait_until,
};
use nix::sys::signal::Signal;

use crate::FOREWORD;
use crate::admin::{Run, get};
use crate::config_file::{rule, wait_for};
use crate::hosts::{Hosts, NAME_PATIENCE, SilentServer};
use crate::talk::Talk;

/// Where the resolver is asked that never answers.
fn server() -> SocketAddr {
    (Family::V4.backend(), 53).into()
}

/// The usual rule, with an upstream.
fn rule_to(upstream: &str) -> Config {
    Config::on("eth0").rule(Rule::new("web", PORT).with(format!("upstream: {{ {upstream} }}")))
}

fn line(address: IpAddr) -> String {
    format!("{address} app.test\n")
}

#[track_caller]
fn greet(lab: &Lab, family: Family) {
    let mut client = Client::connect(&lab.client, family.lb(), (family.vip(), PORT).into());
    client.send(b"hello");
    assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
}

fn status(run: &Run) -> String {
    String::from_utf8_lossy(&run.ask("status").stdout).into_owned()
}

#[apply(lab_test)]
fn a_resolver_that_hangs_holds_up_neither_probes_nor_answers_nor_the_end() {
    let lab = lab();
    let silent = SilentServer::start(&lab.backend, server());
    let hosts = Hosts::asking(server());
    let mut run = Run::by(hosts.command(&lab.node), rule(PORT, "none"));
    let rules = (0..14).map(|number| {
        Rule::new(format!("web{number}"), 8000 + number)
            .with(format!("upstream: {{ address: \"slow{number}.test:80\" }}"))
    });
    run.say(Config::on("eth0").rules(rules));
    silent.wait_for_question();
    // Until the names are given up, and longer.
    let asked = Instant::now();
    let refused = "upstream.address 'slow0.test:80' is not valid; its address can't be found (no answer \
                   within 10 s)";
    while !run.foreword.output().contains(refused) {
        assert!(asked.elapsed() < NAME_PATIENCE, "{}", run.foreword.output());
        let begin = Instant::now();
        assert_eq!(get(&lab, "/readyz"), ("200".to_owned(), "ready\n".to_owned()));
        assert!(status(&run).contains("0 reloads"), "{}", status(&run));
        assert!(begin.elapsed() < Duration::from_secs(5), "answered after {:?}", begin.elapsed());
        sleep(Duration::from_millis(100));
    }
    wait_for(&run.foreword, "not reloaded; everything goes on as before", 1);
    // And while it is waited for again.
    run.foreword.signal(Signal::SIGHUP).expect("it runs");
    sleep(Duration::from_millis(300));
    let begin = Instant::now();
    let ended = run.foreword.terminate().expect("it ends after SIGTERM");
    assert_eq!(ended.code(), Some(0), "{}", run.foreword.output());
    assert!(begin.elapsed() < Duration::from_secs(7), "ended after {:?}", begin.elapsed());
}

fn attach_to_slow(hosts: &Hosts, lab: &Lab) -> Daemon {
    let mut command = hosts.command(&lab.node);
    command.args(["attach", "eth0", "--port", "80", "--inbound", "off", "--outbound", "none"]);
    command.args(["--upstream", "slow.test:80"]);
    Daemon::start("foreword", command).expect("it starts")
}

#[apply(lab_test)]
fn a_name_that_is_not_found_in_time_refuses_the_start() {
    let lab = lab();
    let _silent = SilentServer::start(&lab.backend, server());
    let hosts = Hosts::asking(server());
    let mut foreword = attach_to_slow(&hosts, &lab);
    let ended = foreword.wait(NAME_PATIENCE).expect("it waits no longer");
    assert_eq!(ended.code(), Some(2), "{}", foreword.output());
    let refused = "error: --upstream 'slow.test:80' is not valid; its address can't be found (no answer \
                   within 10 s)";
    assert!(foreword.output().contains(refused), "{}", foreword.output());
}

#[apply(lab_test)]
fn a_signal_ends_a_start_that_waits_for_a_name() {
    let lab = lab();
    let silent = SilentServer::start(&lab.backend, server());
    let hosts = Hosts::asking(server());
    let mut foreword = attach_to_slow(&hosts, &lab);
    silent.wait_for_question();
    let begin = Instant::now();
    let ended = foreword.terminate().expect("it ends after SIGTERM");
    assert_eq!(ended.code(), Some(0), "{}", foreword.output());
    assert!(begin.elapsed() < Duration::from_secs(5), "ended after {:?}", begin.elapsed());
}

#[apply(both_families)]
fn a_name_is_followed_and_open_connections_stay(family: Family) {
    let lab = lab();
    let old = Backend::start(&lab.backend, (family.backend(), PORT).into(), echo);
    let new = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let hosts = Hosts::saying(&line(family.backend()));
    let run = Run::by(hosts.command(&lab.node), rule_to("address: \"app.test:80\", resolve: 1s"));
    let talk = Talk::begin(Client::connect(&lab.client, family.lb(), new.address()));
    assert_eq!((old.connections(), new.connections()), (1, 0));
    assert!(status(&run).contains(&format!("at {}, looked up", old.address())), "{}", status(&run));
    hosts.say(&line(family.vip()));
    wait_for(&run.foreword, "an upstream's name has other addresses", 1);
    greet(&lab, family);
    assert_eq!((old.connections(), new.connections()), (1, 1));
    assert!(status(&run).contains(&format!("at {}, looked up", new.address())), "{}", status(&run));
    talk.assert_goes_on("under the old address");
    talk.end();
}

#[apply(both_families)]
fn a_name_that_is_not_found_again_keeps_its_addresses(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.backend, (family.backend(), PORT).into(), echo);
    let hosts = Hosts::saying(&line(family.backend()));
    let run = Run::by(hosts.command(&lab.node), rule_to("address: \"app.test:80\", resolve: 1s"));
    // Not found, and found as what nobody can connect to.
    for (number, wrong) in ["", "0.0.0.0 app.test\n"].into_iter().enumerate() {
        hosts.say(wrong);
        wait_for(&run.foreword, "a name can't be looked up; its addresses are kept", number + 1);
        greet(&lab, family);
        assert!(status(&run).contains("NOT LOOKED UP SINCE: "), "{}", status(&run));
        let metrics = get(&lab, "/metrics").1;
        assert!(metrics.contains("foreword_upstream_lookup_failed{rule=\"web\"} 1"), "{metrics}");
        hosts.say(&line(family.backend()));
        wait_for(&run.foreword, "the name is looked up again", number + 1);
    }
    assert_eq!(backend.connections(), 2);
    assert_eq!(run.foreword.output().matches("other addresses").count(), 0);
}

#[apply(lab_test)]
fn a_name_that_is_looked_up_once_follows_a_reload() {
    let family = Family::V4;
    let lab = lab();
    let old = Backend::start(&lab.backend, (family.backend(), PORT).into(), echo);
    let new = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let hosts = Hosts::saying(&line(family.backend()));
    let run = Run::by(hosts.command(&lab.node), rule_to("address: \"app.test:80\", resolve: once"));
    hosts.say(&line(family.vip()));
    // Longer than the shortest time that can be set.
    sleep(Duration::from_secs(3));
    greet(&lab, family);
    assert_eq!((old.connections(), new.connections()), (1, 0));
    assert!(run.ask("reload").status.success());
    wait_for(&run.foreword, "an upstream's name has other addresses", 1);
    greet(&lab, family);
    assert_eq!((old.connections(), new.connections()), (1, 1));
}

#[apply(lab_test)]
fn a_link_local_upstream_is_reached_by_its_interface() {
    let lab = lab();
    let mut show = lab.backend.command("ip");
    show.args(["-6", "-oneline", "address", "show", "dev", "eth0", "scope", "link"]);
    let shown = output_of(show);
    let address = shown.split_whitespace().find_map(|word| word.strip_suffix("/64"));
    let address = address.expect("the link has such an address").to_owned();
    let listen = lab.backend.run(|| {
        let scope = nix::net::if_::if_nametoindex("eth0").expect("it is there");
        let ip = address.parse().expect("it is an address");
        SocketAddr::V6(std::net::SocketAddrV6::new(ip, PORT, 0, scope))
    });
    let backend = Backend::start(&lab.backend, listen, echo);
    let upstream = format!("--upstream [{address}%eth1]:80");
    let scene = FOREWORD.scene_in(lab, Family::V6, &[OFF, "--outbound none", &upstream], echo);
    let mut client = scene.connect();
    client.send(b"hello");
    assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
    wait_until(PATIENCE, "a connection", || backend.connections() == 1).expect("it comes there");
    assert_eq!(scene.backend.connections(), 0);
}
