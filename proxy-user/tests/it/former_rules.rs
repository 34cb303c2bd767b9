//! Rules that reloads rename again and again: neither memory nor metrics grow with them, and nothing that
//! was counted is lost.

use std::fs;

use netlab::{
    Backend, Client, Config, Family, Lab, PATIENCE, PORT, Reply, Rule, echo, lab, wait_until,
};

use crate::admin::{Run, get};
use crate::talk::Talk;

const RULES: usize = 100;
const RENAMES: usize = 300;
/// Series of rules that nobody has scraped yet, at most.
const UNSEEN: usize = 256;

/// Rules for ports from [`PORT`] on, named after the round.
fn rules(round: usize) -> Config {
    let rule = |number: usize| Rule::new(format!("r{number}-{round}"), usize::from(PORT) + number);
    Config::on("eth0").rules((0..RULES).map(rule))
}

/// The values of a metric, with the rules that they are of.
fn values(lab: &Lab, metric: &str) -> Vec<(String, u64)> {
    let (status, text) = get(lab, "/metrics");
    assert_eq!(status, "200", "{text}");
    let start = format!("{metric}{{rule=\"");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&start));
    let values = lines.filter_map(|line| {
        let (rule, rest) = line.split_once('"')?;
        Some((rule.to_owned(), rest.rsplit_once(' ')?.1.parse().ok()?))
    });
    values.collect()
}

fn sum(values: &[(String, u64)]) -> u64 {
    values.iter().map(|(_, value)| value).sum()
}

/// Memory that the process has, in KiB.
fn resident(run: &Run) -> u64 {
    let path = format!("/proc/{}/status", run.foreword.pid());
    let status = fs::read_to_string(path).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    size.expect("it has a size")
}

#[apply(lab_test)]
fn rules_that_are_renamed_again_and_again_fold_into_one_series() {
    let family = Family::V4;
    let lab = lab();
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    let connect = || Client::connect(&lab.client, family.lb(), backend.address());
    let run = Run::start(&lab, rules(0));
    let rename = |round: usize| {
        run.say(rules(round));
        let output = run.ask("reload");
        assert!(output.status.success(), "{output:?}");
    };
    let mut served = 0;
    let mut greet = || {
        let mut client = connect();
        client.send(b"hello");
        assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
        served += 1;
    };
    greet();
    let talk = Talk::begin(connect());
    let mut before = 0;
    for round in 1..=RENAMES {
        rename(round);
        if round % 20 == 0 {
            greet();
        }
        if round == RENAMES / 3 {
            before = resident(&run);
        }
    }
    let grown = resident(&run).saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB in {} reloads", RENAMES - RENAMES / 3);

    // Nobody has scraped so far; what is listed for that is bounded all the same.
    wait_until(PATIENCE, "few rules", || {
        let json = run.json("status");
        json["rules"].as_array().map_or(0, Vec::len) <= RULES + UNSEEN + 2
    })
    .expect("they are bounded");
    wait_until(PATIENCE, "one series for all former rules", || {
        values(&lab, "foreword_connections").len() == RULES + 2
    })
    .expect("they are folded once they are seen");
    let accepted = values(&lab, "foreword_connections_accepted_total");
    let names: Vec<_> = accepted.iter().map(|(rule, _)| rule.as_str()).collect();
    assert!(names.contains(&"r0-0") && names.contains(&"former"), "{names:?}");
    assert_eq!(sum(&accepted), served + 1);
    assert_eq!(sum(&values(&lab, "foreword_bytes_total")), served * 2 * 5, "in and out");

    // The last connection of the first rules ends, and is counted wherever they are by then.
    let said = talk.end().len() as u64;
    wait_until(PATIENCE, "the last rule to be folded", || {
        values(&lab, "foreword_connections").len() == RULES + 1
    })
    .expect("it is folded once it is seen");
    assert_eq!(sum(&values(&lab, "foreword_bytes_total")), served * 2 * 5 + said * 2);
    assert_eq!(sum(&values(&lab, "foreword_connections_accepted_total")), served + 1);
    let status = String::from_utf8_lossy(&run.ask("status").stdout).into_owned();
    assert!(status.contains("former: all rules before them"), "{status}");
}
