//! Tests transfers against a model of the kernel: short reads and writes, full and empty buffers, ends and
//! resets in any order, with every byte compared.
//!
//! Flows, the pool of pipes and the readiness that a [`Socket`] remembers are the real ones. What is beyond
//! them is modelled in [`kernel`].

use std::cell::RefMut;
use std::mem;

use proptest::collection::vec;
use proptest::prelude::*;
use proxy_common::Reason;

use self::kernel::{CAPACITY, Kernel, ModelPipe, ModelStream, OPEN_PIPES, OUT_OF_PIPES};
use super::flow::Scratch;
use super::progress::Progress;
use super::stream::Socket;
use super::transfer::{Ending, Transfer};

mod kernel;

/// The worker's buffer: small, so that little data meets every limit.
const BUFFER: usize = 32;
/// How many calls of one turn may find out that they can't succeed: a read and a write of each side.
const SPURIOUS_CALLS: u32 = 4;
/// How many turns in a row are certainly enough for everything that is left.
const TURNS: usize = 1000;

#[derive(Clone, Copy, Debug)]
enum Side {
    Client,
    Upstream,
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Transition {
    /// The peer of this side sends, perhaps with an urgent byte at the end.
    Sends(Side, usize, bool),
    /// The peer ends its direction.
    Finishes(Side),
    /// The peer resets the connection, and what it sent before may be lost.
    Resets(Side, bool),
    /// The peer takes some of what it was sent.
    Takes(Side, usize),
    /// The worker gets the events of this side.
    IsReported(Side),
    /// The gate opens.
    Opens,
    /// No more pipes can be opened, or they can again.
    LacksPipes(bool),
}

struct World {
    ends: [Socket<ModelStream>; 2],
    transfer: Transfer<ModelPipe>,
    scratch: Scratch<ModelPipe>,
    progress: Progress<Ending>,
}

impl World {
    fn new(is_gated: bool, room: usize, grain: usize) -> Self {
        OUT_OF_PIPES.set(false);
        let end = || Socket::new(ModelStream::new(room, grain));
        Self {
            ends: [end(), end()],
            transfer: Transfer::new(is_gated),
            scratch: Scratch::new(BUFFER),
            progress: Progress::Blocked,
        }
    }

    fn kernel(&self, side: Side) -> RefMut<'_, Kernel> {
        self.ends[side as usize].get().kernel()
    }

    fn apply(&mut self, transition: Transition) {
        match transition {
            Transition::Sends(side, count, urgent) => {
                let mut kernel = self.kernel(side);
                // No two bytes near each other are alike, nor are those of the two directions.
                let first = kernel.sent.len() + 100 * side as usize;
                let bytes = (0..=250_u8).cycle().skip(first % 251).take(count);
                kernel.sends(bytes, urgent);
            }
            Transition::Finishes(side) => self.kernel(side).finishes(),
            Transition::Resets(side, loses) => self.kernel(side).resets(loses),
            Transition::Takes(side, count) => self.kernel(side).takes(count),
            Transition::IsReported(side) => self.is_reported(side),
            Transition::Opens if self.transfer.is_gated() => {
                self.transfer.open_gate();
                self.goes_on();
            }
            Transition::Opens => {}
            Transition::LacksPipes(lacks) => OUT_OF_PIPES.set(lacks),
        }
    }

    fn is_reported(&mut self, side: Side) {
        let Some(event) = self.kernel(side).report() else { return };
        self.ends[side as usize].on_event(event);
        self.goes_on();
    }

    /// What a worker does after an event.
    fn goes_on(&mut self) {
        if matches!(self.progress, Progress::Done(_)) {
            return;
        }
        for _ in 0..TURNS {
            let [client, upstream] = &self.ends;
            self.scratch.budget.reset();
            self.progress = self.transfer.advance(client, upstream, &mut self.scratch);
            let sides = [Side::Client, Side::Upstream];
            let spurious_calls: u32 =
                sides.map(|side| mem::take(&mut self.kernel(side).spurious_calls)).iter().sum();
            assert!(spurious_calls <= SPURIOUS_CALLS, "{spurious_calls} calls that can't succeed");
            if self.progress != Progress::Yielded {
                return;
            }
        }
        panic!("it never stops");
    }

    /// Checks what holds at any moment.
    fn check(&self) {
        let (client, upstream) = (self.kernel(Side::Client), self.kernel(Side::Upstream));
        for (from, to) in [(&client, &upstream), (&upstream, &client)] {
            assert!(from.sent.starts_with(&to.received), "{:?} of {:?}", to.received, from.sent);
            let is_whole = from.has_finished && to.received.len() == from.sent.len();
            assert!(!to.is_ended || is_whole, "an end too early");
            let is_over = to.is_ended || to.is_reset || matches!(self.progress, Progress::Done(_));
            assert!(!to.awaits_end || is_over, "bytes wait for an end that never comes");
        }
        let moved = (upstream.received.len() as u64, client.received.len() as u64);
        assert_eq!(self.transfer.moved(), moved);
        if self.transfer.is_gated() {
            assert!(client.is_reset || client.queue.len() == client.sent.len(), "read too early");
        }
    }

    /// Removes every obstacle.
    fn becomes_free(&mut self) {
        OUT_OF_PIPES.set(false);
        self.goes_on();
        self.apply(Transition::Opens);
    }

    /// Both peers take what there is for them, and neither ends. Nothing may be left behind.
    fn comes_to_rest(&mut self) {
        for _ in 0..TURNS {
            for side in [Side::Client, Side::Upstream] {
                self.apply(Transition::Takes(side, 7));
                self.apply(Transition::IsReported(side));
            }
            self.check();
        }
        let (client, upstream) = (self.kernel(Side::Client), self.kernel(Side::Upstream));
        if !client.is_reset && !upstream.is_reset {
            assert_eq!(upstream.received, client.sent, "stalled: {:#?}", self.transfer);
            assert_eq!(client.received, upstream.sent, "stalled: {:#?}", self.transfer);
        }
    }

    /// Both peers end. Then the transfer has to end.
    fn settles(&mut self) -> Ending {
        for side in [Side::Client, Side::Upstream] {
            self.apply(Transition::Finishes(side));
        }
        for _ in 0..TURNS {
            for side in [Side::Client, Side::Upstream] {
                self.apply(Transition::Takes(side, 7));
                self.apply(Transition::IsReported(side));
            }
            self.check();
            if let Progress::Done(ending) = self.progress {
                return ending;
            }
        }
        let kernels = self.ends.each_ref().map(Socket::get);
        panic!("it hangs: {kernels:#?} {:#?}", self.transfer);
    }

    fn check_ending(&self, ending: Ending) {
        let (client, upstream) = (self.kernel(Side::Client), self.kernel(Side::Upstream));
        match ending {
            Ending::Complete => {
                assert_eq!(upstream.received, client.sent);
                assert_eq!(client.received, upstream.sent);
                assert!(client.is_ended != upstream.is_ended, "one is told by a close");
            }
            Ending::UpstreamLeft => {
                assert!(upstream.is_reset);
                assert_eq!(client.received, upstream.sent);
            }
            Ending::Broken(Reason::ClientReset) => assert!(client.is_reset),
            Ending::Broken(reason) => {
                assert_eq!(reason, Reason::UpstreamReset);
                assert!(upstream.is_reset);
            }
        }
        if !client.is_reset && !upstream.is_reset {
            assert_eq!(ending, Ending::Complete);
        }
    }
}

fn transition() -> impl Strategy<Value = Transition> {
    let side = || prop_oneof![Just(Side::Client), Just(Side::Upstream)];
    prop_oneof![
        30 => (side(), 1..150_usize, prop::bool::weighted(0.1))
            .prop_map(|(side, count, urgent)| Transition::Sends(side, count, urgent)),
        20 => (side(), 1..100_usize).prop_map(|(side, count)| Transition::Takes(side, count)),
        30 => side().prop_map(Transition::IsReported),
        2 => side().prop_map(Transition::Finishes),
        1 => (side(), any::<bool>()).prop_map(|(side, loses)| Transition::Resets(side, loses)),
        2 => Just(Transition::Opens),
        3 => any::<bool>().prop_map(Transition::LacksPipes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn every_byte_arrives_once_whatever_happens(
        is_gated in any::<bool>(),
        rests in any::<bool>(),
        room in 0..100_usize,
        grain in 1..=CAPACITY,
        transitions in vec(transition(), 0..100),
    ) {
        let mut world = World::new(is_gated, room, grain);
        world.goes_on();
        for transition in transitions {
            world.apply(transition);
            world.check();
        }
        world.becomes_free();
        if rests {
            world.comes_to_rest();
        }
        let ending = world.settles();
        world.check_ending(ending);
        let World { transfer, scratch, .. } = world;
        drop(scratch);
        prop_assert!(ending != Ending::Complete || OPEN_PIPES.get() == 0, "a pipe is not given back");
        drop(transfer);
        prop_assert_eq!(OPEN_PIPES.get(), 0);
    }
}
