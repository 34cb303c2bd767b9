//! Random sequences of starts, takeovers, deaths and cleanups of real processes on one node, with faults
//! at any system call of a start, against a model of a few words: who serves, who drains, and whether
//! the ports are held.
//!
//! What is claimed after each step: if somebody serves, a load balancer is served and a stranger with
//! a forged header reaches nobody; if nobody does, connections flow directly, or not at all where the
//! ports are held. Connections that drain go on; those of a process that was killed end in a reset. At
//! the end nothing is left in the kernel.

mod node;

use std::env;
use std::time::Duration;

use netlab::{hooks, with_own_bpffs};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use self::node::Node;
use crate::fault::Consequence;

/// Always the same cases, so that a change that passes has passed for good. `PROPTEST_RNG_SEED` and
/// `PROPTEST_CASES` choose others.
const SEED: u64 = 16;
const CASES: u32 = 4;
/// A case of real processes takes seconds: a few simpler ones are looked for when one fails.
const MAX_SHRINKS: u32 = 12;

/// What is done next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Without `--take-over`: refused if somebody serves.
    Start {
        hold: bool,
    },
    TakeOver {
        hold: bool,
    },
    /// The predecessor is killed so long after the successor's start.
    TakeOverFromTheDying {
        hold: bool,
        after: Duration,
    },
    /// The successor is killed as soon as it serves.
    TakeOverAndDie {
        hold: bool,
    },
    /// A start of which one system call fails, or is the last.
    Fail {
        take_over: bool,
        hold: bool,
        number: usize,
        consequence: Consequence,
    },
    /// Opens a connection by whoever serves, which stays.
    Connect,
    /// Ends all such connections in order.
    Disconnect,
    Kill,
    KillDraining,
    Terminate,
    CleanUp,
}

/// Every step can be made at any time.
pub struct AnyOrder;

impl ReferenceStateMachine for AnyOrder {
    type State = &'static str;
    type Transition = Step;

    /// How the processes are attached to TC.
    fn init_state() -> BoxedStrategy<Self::State> {
        proptest::sample::select(hooks()).boxed()
    }

    fn transitions(_: &Self::State) -> BoxedStrategy<Step> {
        let hold = || prop::bool::weighted(0.4);
        let after = (0_u64..400).prop_map(Duration::from_millis);
        let consequence = prop_oneof![Just(Consequence::Refusal), Just(Consequence::Death)];
        prop_oneof![
            3 => hold().prop_map(|hold| Step::Start { hold }),
            3 => hold().prop_map(|hold| Step::TakeOver { hold }),
            1 => (hold(), after).prop_map(|(hold, after)| Step::TakeOverFromTheDying { hold, after }),
            1 => hold().prop_map(|hold| Step::TakeOverAndDie { hold }),
            4 => (any::<bool>(), hold(), 0_usize..130, consequence).prop_map(
                |(take_over, hold, number, consequence)| {
                    Step::Fail { take_over, hold, number, consequence }
                }
            ),
            3 => Just(Step::Connect),
            1 => Just(Step::Disconnect),
            2 => Just(Step::Kill),
            1 => Just(Step::KillDraining),
            1 => Just(Step::Terminate),
            1 => Just(Step::CleanUp),
        ]
        .boxed()
    }

    fn apply(state: Self::State, _: &Step) -> Self::State {
        state
    }
}

impl StateMachineTest for Node {
    type SystemUnderTest = Self;
    type Reference = AnyOrder;

    fn init_test(hook: &&'static str) -> Self {
        Self::new(hook)
    }

    fn apply(mut node: Self, _: &&'static str, step: Step) -> Self {
        match step {
            Step::Start { hold } => node.start(hold),
            Step::TakeOver { hold } => node.take_over(hold),
            Step::TakeOverFromTheDying { hold, after } => {
                node.take_over_from_the_dying(hold, after);
            }
            Step::TakeOverAndDie { hold } => node.take_over_and_die(hold),
            Step::Fail { take_over, hold, number, consequence } => {
                node.fail(take_over, hold, number, consequence);
            }
            Step::Connect => node.connect(),
            Step::Disconnect => node.disconnect(),
            Step::Kill => node.kill(),
            Step::KillDraining => node.kill_draining(),
            Step::Terminate => node.terminate(),
            Step::CleanUp => node.clean_up(),
        }
        node
    }

    fn check_invariants(node: &Self, _: &&'static str) {
        node.assert_guarded();
        node.assert_connections_go_on();
    }

    fn teardown(node: Self, _: &'static str) {
        node.end();
    }
}

fn config(lane: u64) -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: MAX_SHRINKS,
        ..ProptestConfig::default()
    };
    let seed = if let RngSeed::Fixed(seed) = config.rng_seed { seed } else { SEED };
    config.rng_seed = RngSeed::Fixed(seed + lane);
    if env::var_os("PROPTEST_CASES").is_none() {
        config.cases = CASES;
    }
    config
}

/// Side by side with the other lanes, since processes mostly wait.
fn run(lane: u64) {
    with_own_bpffs(|| walk(&config(lane)));
}

fn walk(config: &ProptestConfig) {
    let mut runner = TestRunner::new(config.clone());
    let result = runner.run(&AnyOrder::sequential_strategy(4..10), |(hook, steps, seen)| {
        Node::test_sequential(config.clone(), hook, steps, seen);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}\n{runner}");
    }
}

/// Every so many calls of a start are tried: each is a start of its own.
const STRIDE: usize = 11;

/// Whether it wants to hold the ports as well or not, and whether it fails or dies.
#[apply(lab_test)]
fn a_start_that_fails_leaves_an_older_hold() {
    with_own_bpffs(fail_beside_a_hold);
}

fn fail_beside_a_hold() {
    for hook in hooks() {
        for (hold, consequence) in [(true, Consequence::Death), (false, Consequence::Refusal)] {
            let mut node = Node::new(hook);
            node.start(true);
            node.kill();
            node.assert_guarded();
            let numbers = (0..).step_by(STRIDE);
            let failed = numbers.take_while(|&number| {
                let has_failed = node.fail(false, hold, number, consequence);
                node.assert_guarded();
                has_failed
            });
            let failed = failed.count();
            println!("{hook}, hold: {hold}: {failed} starts that failed");
            assert!(failed > 3, "{hook}: a start makes more calls than that");
            node.end();
        }
    }
}

mod a_node_is_guarded_whatever_becomes_of_processes {
    #[apply(lab_test)]
    fn lane_0() {
        super::run(0);
    }

    #[apply(lab_test)]
    fn lane_1() {
        super::run(1);
    }
}
