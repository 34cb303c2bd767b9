//! What is compared, on which work, and for how long.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// Who moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// Nobody: the client writes the header itself, and is routed to the server.
    Direct,
    /// HAProxy with what the job needs, and its defaults otherwise.
    Haproxy,
    /// HAProxy with splicing, large pipes and fewer system calls per connection.
    HaproxyTuned,
    /// nginx's stream module.
    Nginx,
    /// Foreword; where the others have listeners, its relay behind a listener of its own.
    Foreword,
    /// `foreword attach lo`, where the others have listeners.
    ForewordOnLo,
    /// Foreword with `--guard-answers off`: without the program at egress.
    ForewordAnswersOff,
}

impl Contender {
    /// Whom the others are compared with.
    pub const BASES: [Self; 3] = [Self::Direct, Self::Haproxy, Self::HaproxyTuned];

    /// Its name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Haproxy => "HAProxy",
            Self::HaproxyTuned => "HAProxy, tuned",
            Self::Nginx => "nginx",
            Self::Foreword => "Foreword",
            Self::ForewordOnLo => "Foreword, on lo",
            Self::ForewordAnswersOff => "Foreword, answers off",
        }
    }

    /// Whether it can be compared there with anybody.
    pub fn takes_part_in(self, setup: Setup) -> bool {
        match self {
            Self::ForewordOnLo => setup == Setup::Plain,
            Self::ForewordAnswersOff => setup == Setup::Transparent,
            _ => true,
        }
    }

    /// Foreword with its eBPF programs.
    pub fn steered_in(setup: Setup) -> Self {
        match setup {
            Setup::Plain => Self::ForewordOnLo,
            Setup::Transparent => Self::Foreword,
        }
    }
}

/// How the contender comes to see the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Setup {
    /// Client, contender and server on the loopback interface of one namespace.
    Plain,
    /// Client, node and backend, each in a namespace, joined by veth pairs.
    Transparent,
}

impl Setup {
    /// Its name in headings.
    pub fn title(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Transparent => "transparent",
        }
    }
}

/// One kind of work, or one thing to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
pub enum Measure {
    /// Memory and descriptors of 3,000 connections that say nothing.
    #[serde(rename = "idle")]
    Idle,
    /// One stream, client to server, as fast as it goes.
    #[value(name = "bulk-1")]
    #[serde(rename = "bulk-1")]
    Bulk1,
    /// Eight streams at once.
    #[value(name = "bulk-8")]
    #[serde(rename = "bulk-8")]
    Bulk8,
    /// 100 B request, 1 KiB response, close; 64 connections at a time.
    #[serde(rename = "short")]
    Short,
    /// 64 B there and back on one connection, everything on one CPU.
    #[value(name = "ping-pong-1")]
    #[serde(rename = "ping-pong-1")]
    PingPong1,
    /// 64 B there and back on 256 connections at once.
    #[value(name = "ping-pong-256")]
    #[serde(rename = "ping-pong-256")]
    PingPong256,
    /// System calls for each short connection.
    #[serde(rename = "syscalls")]
    Syscalls,
    /// Nanoseconds in each of Foreword's eBPF programs for each packet.
    #[serde(rename = "ebpf")]
    Ebpf,
}

impl Measure {
    /// What is done, as a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Idle => "3,000 idle connections",
            Self::Bulk1 => "bulk, 1 stream",
            Self::Bulk8 => "bulk, 8 streams",
            Self::Short => "short connections, 64 at a time",
            Self::PingPong1 => "64 B ping-pong, 1 connection, one CPU",
            Self::PingPong256 => "64 B ping-pong, 256 connections",
            Self::Syscalls => "system calls per short connection",
            Self::Ebpf => "eBPF programs",
        }
    }

    /// Whether there is something to measure: without a proxy there are no system calls of one.
    pub fn applies_to(self, setup: Setup, contender: Contender) -> bool {
        match self {
            Self::Syscalls => contender != Contender::Direct,
            Self::Ebpf => contender == Contender::steered_in(setup),
            _ => true,
        }
    }

    /// Whether it is a count, which hardly differs from round to round.
    fn is_count(self) -> bool {
        matches!(self, Self::Idle | Self::Syscalls | Self::Ebpf)
    }
}

/// Everything that is going to be measured.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The set-ups, one after the other.
    pub setups: Vec<Setup>,
    /// The contenders, side by side.
    pub contenders: Vec<Contender>,
    /// The measures of each round.
    pub measures: Vec<Measure>,
    /// How often each of them is taken.
    pub rounds: usize,
    /// How often those are taken that are counts.
    pub count_rounds: usize,
    /// How long a load lasts.
    pub duration: Duration,
}

impl Plan {
    /// All that is named; where nothing is, everything.
    pub fn new(
        quick: bool,
        setups: &[Setup],
        contenders: &[Contender],
        measures: &[Measure],
    ) -> Self {
        let (rounds, count_rounds, milliseconds) = if quick { (3, 1, 400) } else { (7, 3, 1500) };
        Self {
            setups: named_or_all(setups),
            contenders: named_or_all(contenders),
            measures: named_or_all(measures),
            rounds,
            count_rounds,
            duration: Duration::from_millis(milliseconds),
        }
    }

    /// How often a measure is taken.
    pub fn rounds_of(&self, measure: Measure) -> usize {
        if measure.is_count() { self.count_rounds } else { self.rounds }
    }

    /// The order of one round: measure by measure, and within each all contenders in a row, each
    /// round beginning with another one.
    pub fn round(&self, setup: Setup, round: usize) -> Vec<(Measure, Contender)> {
        let contenders = self.contenders_in(setup);
        let start = round % contenders.len().max(1);
        let (later, first) = contenders.split_at(start);
        let contenders = || first.iter().chain(later).copied();
        let measures = self.measures.iter().copied();
        measures
            .filter(|&measure| round < self.rounds_of(measure))
            .flat_map(|measure| contenders().map(move |contender| (measure, contender)))
            .filter(|(measure, contender)| measure.applies_to(setup, *contender))
            .collect()
    }

    /// Who takes part.
    pub fn contenders_in(&self, setup: Setup) -> Vec<Contender> {
        self.contenders.iter().copied().filter(|it| it.takes_part_in(setup)).collect()
    }

    /// How many samples will be taken.
    pub fn samples(&self) -> usize {
        let rounds =
            self.setups.iter().flat_map(|&setup| (0..self.rounds).map(move |it| (setup, it)));
        rounds.map(|(setup, round)| self.round(setup, round).len()).sum()
    }
}

/// In their own order, each once, whatever the order on the command line.
fn named_or_all<T: ValueEnum + PartialEq>(named: &[T]) -> Vec<T> {
    let all = T::value_variants().iter();
    all.filter(|value| named.is_empty() || named.contains(value)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_interleaves_and_begins_with_another_contender_each_time() {
        let contenders = [Contender::Foreword, Contender::Direct, Contender::Nginx];
        let plan = Plan::new(true, &[], &contenders, &[Measure::Short, Measure::Bulk1]);
        assert_eq!(
            plan.round(Setup::Transparent, 1),
            [
                (Measure::Bulk1, Contender::Nginx),
                (Measure::Bulk1, Contender::Foreword),
                (Measure::Bulk1, Contender::Direct),
                (Measure::Short, Contender::Nginx),
                (Measure::Short, Contender::Foreword),
                (Measure::Short, Contender::Direct),
            ]
        );
        assert_eq!(plan.samples(), 2 * 3 * 6);
    }

    #[test]
    fn counts_are_taken_less_often_and_only_where_there_is_something_to_count() {
        let plan = Plan::new(true, &[Setup::Plain], &[], &[Measure::Syscalls, Measure::Ebpf]);
        assert_eq!(plan.samples(), 5 + 1);
        assert!(plan.round(Setup::Plain, 1).is_empty());
    }

    #[test]
    fn only_one_of_forewords_two_ways_has_programs() {
        let plan = Plan::new(true, &[], &[], &[Measure::Ebpf]);
        let of = |setup| plan.round(setup, 0);
        assert_eq!(of(Setup::Plain), [(Measure::Ebpf, Contender::ForewordOnLo)]);
        assert_eq!(of(Setup::Transparent), [(Measure::Ebpf, Contender::Foreword)]);
    }
}
