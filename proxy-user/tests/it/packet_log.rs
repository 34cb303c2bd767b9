//! What the programs in the kernel say of packets: drops at info, connections at debug, a flood in
//! a few lines, and nothing at all where nobody asked.

use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use netlab::{
    Backend, Client, Family, Foreword, Lab, OFF, PATIENCE, PORT, REQUIRE, Scene, echo, lab,
    output_of, wait_until,
};
use nix::sys::signal::Signal;

use crate::FOREWORD;
use crate::flood::during_flood;
use crate::footprint::descriptor_ids;
use crate::probe::assert_served;
use crate::talk::Talk;

const DROPS: &str = "warn,packets=info";
const CONNECTIONS: &str = "warn,packets=debug";
const OF_US: &str = "warn,foreword=debug";

/// Lines of drops that a CPU may write in a second.
const DROPS_PER_SECOND: u64 = 5;

/// `foreword attach eth0` with a filter for its log.
fn attach(lab: &Lab, filter: &str, flags: &str) -> Foreword {
    let mut command = FOREWORD.command(&lab.node);
    command.env("RUST_LOG", filter).args(["attach", "eth0", "--port", &PORT.to_string()]);
    command.args(flags.split_whitespace());
    Foreword::start(command).unwrap_or_else(|error| panic!("{flags}: {error:#}"))
}

/// Waits for a line that has all of these words.
#[track_caller]
fn wait_for_line(foreword: &Foreword, words: &[&str]) {
    let said = || {
        let output = foreword.output();
        output.lines().any(|line| words.iter().all(|word| line.contains(word)))
    };
    wait_until(PATIENCE, &format!("{words:?}"), said)
        .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
}

#[apply(both_families)]
fn a_dropped_packet_is_logged(family: Family) {
    for hook in ["native", "generic", "tc"] {
        let lab = lab();
        let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
        let flags = format!("{REQUIRE} --outbound v1 --guard-hook {hook}");
        let foreword = attach(&lab, DROPS, &flags);
        let patience = Duration::from_millis(200);
        let vip = backend.address();
        let stranger = Client::try_connect_within(&lab.client, family.stranger(), vip, patience);
        assert!(stranger.is_err(), "{hook}: it is dropped");
        let client = match family {
            Family::V4 => format!(" client={}:", family.stranger()),
            Family::V6 => format!(" client=[{}]:", family.stranger()),
        };
        let destination = format!(" original_dst={vip} ");
        let words = ["INFO", "dropped reason=untrusted-source", &client, &destination];
        wait_for_line(&foreword, &words);
        assert_served(&lab, &backend, family);
        assert!(!foreword.output().contains("steered"), "{hook}: {}", foreword.output());
    }
}

#[apply(both_families)]
fn a_flood_of_packets_is_a_few_lines(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let foreword = attach(&lab, DROPS, &format!("{REQUIRE} --outbound none"));
    let scene = Scene { foreword, backend, lab, family };
    let begun = Instant::now();
    let (sent, ()) = during_flood(&scene, || sleep(Duration::from_secs(2)));
    let seconds = begun.elapsed().as_secs() + 1;
    assert!(sent > 2_000, "a flood of {sent} is none");
    sleep(Duration::from_millis(200));
    let output = scene.foreword.output();
    let lines: Vec<_> = output.lines().filter(|line| line.contains(" dropped ")).collect();
    let cpus = available_parallelism().expect("it is known").get() as u64;
    // Two halves of a second at the ends.
    let most = (seconds + 1) * DROPS_PER_SECOND * cpus;
    let written = lines.len() as u64;
    assert!((1..=most).contains(&written), "{written} lines of {most}");
    let left_out = lines.iter().filter_map(|line| line.split("left_out=").nth(1));
    let left_out: u64 = left_out.map(|count| count.trim().parse::<u64>().expect("a count")).sum();
    assert!(left_out > 100, "{left_out} of {sent} left out: {output}");
}

#[apply(both_families)]
fn first_packets_are_logged_at_debug(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let foreword = attach(&lab, CONNECTIONS, &format!("{OFF} --outbound none"));
    let client = Client::connect(&lab.client, family.lb(), backend.address());
    let source = client.address();
    let talk = Talk::begin(client);
    talk.assert_goes_on("steered");
    let destination = format!(" original_dst={} ", backend.address());
    wait_for_line(&foreword, &["DEBUG", "steered", &format!(" client={source} "), &destination]);

    // While it drains, new connections go by.
    foreword.signal(Signal::SIGTERM).expect("it runs");
    wait_until(PATIENCE, "a connection that goes by", || {
        let client = Client::connect(&lab.client, family.lb(), backend.address());
        let passed = format!("passed client={} ", client.address());
        sleep(Duration::from_millis(100));
        foreword.output().contains(&passed)
    })
    .unwrap_or_else(|error| panic!("{error}: {}", foreword.output()));
    talk.end();
}

/// The verifier leaves out what can't come about.
#[apply(lab_test)]
fn off_it_is_not_in_the_kernel() {
    let lab = lab();
    let speaks = [DROPS, OF_US].map(|filter| {
        let foreword = attach(&lab, filter, &format!("{REQUIRE} --outbound none"));
        // Others have programs of the same names.
        descriptor_ids(foreword.pid(), "prog_id:").into_iter().any(|id| {
            let mut bpftool = lab.node.command("bpftool");
            bpftool.args(["prog", "dump", "xlated", "id", &id.to_string()]);
            output_of(bpftool).contains("bpf_ringbuf_reserve")
        })
    });
    assert_eq!(speaks, [true, false]);
}
