//! Random sequences of changes, with maps that fill up and with faults at any write, against a model
//! that knows nothing of maps: the rules as they were written.
//!
//! What is claimed after each step, and between any two writes of it: each packet meets whole rules,
//! the old or the new ones; a port that both hold is held; ports that have answered clients are still
//! led back. After a step that fails the old rules are in force, after one that succeeds the new ones.

mod model;

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use proxy_common::abi::port_bit;

use self::model::{Packet, Rules, rules};
use super::super::memory::{Fault, MemoryMaps};
use super::tests::in_force;
use super::*;

/// Ranges that fit into a trie: two sets of rules of the usual size, or hardly one of the largest.
const ROOM: usize = 10;
/// Stands for packets of which the port can't be read.
const UNREADABLE: u16 = 0;
/// Always the same cases, so that a change that passes has passed for good. `PROPTEST_RNG_SEED` and
/// `PROPTEST_CASES` choose others.
const SEED: u64 = 16;
const CASES: u32 = 200;

/// What is done next.
#[derive(Clone, Debug)]
enum Step {
    Serve(Box<Rules>, Fault),
    RetireAll(Fault),
    /// Once no packet can be about that has seen earlier rules.
    Tidy(Fault),
    /// While one can.
    TidyEarly(Fault),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => Just(Fault::None),
        2 => (0..40_usize).prop_map(Fault::At),
        1 => (0..40_usize).prop_map(Fault::From),
        // Few writes are owed, and few are stale.
        1 => (0..4_usize).prop_map(Fault::From),
    ]
}

/// Every step can be made at any time.
struct AnyOrder;

impl ReferenceStateMachine for AnyOrder {
    type State = ();
    type Transition = Step;

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions((): &()) -> BoxedStrategy<Step> {
        prop_oneof![
            6 => (rules(), fault()).prop_map(|(rules, fault)| Step::Serve(Box::new(rules), fault)),
            1 => fault().prop_map(Step::RetireAll),
            2 => fault().prop_map(Step::Tidy),
            1 => fault().prop_map(Step::TidyEarly),
        ]
        .boxed()
    }

    fn apply((): (), _: &Step) {}
}

/// The writer with its maps, and what they are to be like.
#[derive(Debug)]
struct Machine {
    writer: Writer,
    maps: MemoryMaps,
    /// The rules of the last change that was made.
    rules: Rules,
    /// Ports that stay closed while nobody steers; those are kept when the rules are retired.
    held: BTreeSet<u16>,
    /// Ports of upstreams that have answered clients.
    upstream_ports: BTreeSet<u16>,
    /// Those of a change that failed and could not be taken back yet.
    stuck: Option<Rules>,
    /// How many writes of it were owed when the step began.
    debts: usize,
}

impl Machine {
    fn serve(&mut self, wanted: Rules, fault: Fault) {
        // Foreword has always a rule.
        let Some(settings) = wanted.settings() else { return };
        let before = self.maps.entries.clone();
        let needed = self.rules.ranges().into_iter().zip(wanted.ranges());
        let fits = needed.map(|(old, new)| old + new).all(|ranges| ranges <= ROOM);
        // Before they can be looked for, there would be a wait.
        self.writer.swapped_at = None;
        self.fail(fault);
        let result = self.writer.apply(&mut self.maps, &settings);
        self.assert_never_mixed(&before, Some(&wanted));
        match result {
            Ok(()) => {
                assert!(fits, "{wanted:?} beside {:?}", self.rules);
                self.held = wanted.held();
                self.upstream_ports.extend(wanted.upstream_ports());
                (self.rules, self.stuck) = (wanted, None);
            }
            Err(error) if self.maps.has_failed() => {
                assert!(format!("{error:#}").contains("ENOMEM"), "{error:#}");
                self.note_stuck(fault, Some(wanted));
            }
            Err(error) => {
                assert!(!fits, "{error:#}: {wanted:?} beside {:?}", self.rules);
                assert!(format!("{error:#}").contains("name fewer ports or ranges"), "{error:#}");
                let mended = self.stuck.take().is_some();
                let is_new = |(key, value)| before.get(key) != Some(value);
                assert!(mended || !self.maps.entries.iter().any(is_new), "something was written");
            }
        }
    }

    fn retire_all(&mut self, fault: Fault) {
        let before = self.maps.entries.clone();
        self.writer.swapped_at = None;
        self.fail(fault);
        let result = self.writer.retire_all(&mut self.maps);
        self.assert_never_mixed(&before, Some(&Rules::default()));
        if result.is_ok() {
            (self.rules, self.stuck) = (Rules::default(), None);
        } else {
            self.note_stuck(fault, Some(Rules::default()));
        }
    }

    fn tidy(&mut self, fault: Fault, is_early: bool) {
        let before = self.maps.entries.clone();
        // A time to come has not passed yet, however slow the machine is.
        self.writer.swapped_at = is_early.then(|| Instant::now() + Duration::from_secs(3600));
        self.fail(fault);
        let result = self.writer.tidy(&mut self.maps);
        self.assert_never_mixed(&before, None);
        if result.is_err() {
            self.note_stuck(fault, None);
            return;
        }
        let was_stuck = self.stuck.take().is_some();
        if is_early {
            assert!(was_stuck || self.maps.entries == before, "a packet may still ask for it");
        } else {
            assert_eq!(in_force(&self.maps.entries), self.maps.entries, "nothing is stale");
        }
    }

    /// From now on these writes of a step fail.
    fn fail(&mut self, fault: Fault) {
        let debts = self.writer.undo.iter().filter(|(key, _)| key.owner().is_none());
        self.debts = debts.count();
        self.maps.fail(fault);
    }

    /// After a step that failed for a fault: what was there before it is there again, unless the maps
    /// would not have that.
    fn note_stuck(&mut self, fault: Fault, wanted: Option<Rules>) {
        assert!(self.maps.has_failed(), "a step fails for a reason");
        match fault {
            // Not even what was owed could be made good.
            Fault::At(first) | Fault::From(first) if first < self.debts => {}
            // One write that fails can be taken back.
            Fault::None | Fault::At(_) => self.stuck = None,
            Fault::From(_) => self.stuck = wanted,
        }
    }

    /// Between any two writes of a step, and after it.
    fn assert_never_mixed(&self, before: &BTreeMap<Key, Value>, wanted: Option<&Rules>) {
        for entries in [before].into_iter().chain(&self.maps.history) {
            self.assert_whole(entries, wanted);
        }
    }

    fn assert_whole(&self, entries: &BTreeMap<Key, Value>, wanted: Option<&Rules>) {
        let others = || self.stuck.iter().chain(wanted);
        for packet in Packet::all() {
            let met = packet.meets(entries);
            let mut whole = [&self.rules].into_iter().chain(others());
            assert!(
                whole.any(|rules| rules.meets(packet) == met),
                "{packet:?} meets {met:?}, which is of none of {:?}",
                [&self.rules].into_iter().chain(others()).collect::<Vec<_>>()
            );
        }
        for port in &self.held {
            let stays = others().all(|rules| rules.held().contains(port));
            assert!(!stays || entries.contains_key(&Key::Held(*port)), "{port} is not held");
        }
        for port in &self.upstream_ports {
            assert!(entries.contains_key(&Key::UpstreamPort(*port)), "{port} is not led back");
        }
    }

    /// After a step.
    fn assert_settled(&self) {
        let mut written = self.writer.written.0.clone();
        written.retain(|_, value| *value != Value::Bits(0));
        assert_eq!(written, self.maps.entries, "the writer knows what is there");
        self.assert_whole(&self.maps.entries, None);
        if self.stuck.is_none() {
            let (word, bit) = port_bit(UNREADABLE);
            let mark = self.maps.entries.get(&Key::PortBits(word));
            let is_dropped = matches!(mark, Some(Value::Bits(bits)) if bits & bit != 0);
            assert_eq!(is_dropped, self.rules.drops_unreadable(), "what can't be read");
            let held = self.maps.entries.keys().filter_map(|key| match key {
                Key::Held(port) if *port != UNREADABLE => Some(*port),
                _ => None,
            });
            assert_eq!(held.collect::<BTreeSet<_>>(), self.held);
        }
    }
}

impl StateMachineTest for Machine {
    type SystemUnderTest = Self;
    type Reference = AnyOrder;

    fn init_test((): &()) -> Self {
        Self {
            writer: Writer::default(),
            maps: MemoryMaps::new(ROOM),
            rules: Rules::default(),
            held: BTreeSet::new(),
            upstream_ports: BTreeSet::new(),
            stuck: None,
            debts: 0,
        }
    }

    fn apply(mut machine: Self, (): &(), step: Step) -> Self {
        match step {
            Step::Serve(rules, fault) => machine.serve(*rules, fault),
            Step::RetireAll(fault) => machine.retire_all(fault),
            Step::Tidy(fault) => machine.tidy(fault, false),
            Step::TidyEarly(fault) => machine.tidy(fault, true),
        }
        machine
    }

    fn check_invariants(machine: &Self, (): &()) {
        machine.assert_settled();
    }

    /// Whatever has happened, maps that take writes again have the rules that were there, and then
    /// take new ones.
    fn teardown(mut machine: Self, (): ()) {
        machine.tidy(Fault::None, false);
        machine.assert_settled();
        machine.retire_all(Fault::None);
        machine.tidy(Fault::None, false);
        machine.assert_settled();
        let is_range = |key: &Key| key.owner().is_some();
        assert!(!machine.maps.entries.keys().any(is_range), "ranges have leaked");
    }
}

fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(SEED);
    }
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    config
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn rules_are_whole_whatever_happens(sequential 1..12 => Machine);
}
