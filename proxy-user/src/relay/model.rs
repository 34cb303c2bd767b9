//! The transfer against a model of the kernel: short reads and writes, full and empty buffers, ends
//! and resets in every message, and each byte compared.
//!
//! Flows, pool and what [`Socket`] remembers of edges are the real ones. What is beyond them is
//! modelled in [`kernel`].

use std::cell::RefMut;
use std::mem;

use proptest::collection::vec;
use proptest::prelude::*;
use proxy_common::Reason;

use self::kernel::{CAPACITY, End, Kernel, OPEN_PIPES, OUT_OF_PIPES, Tank};
use super::flow::Scratch;
use super::stream::Socket;
use super::transfer::{Ending, Stand, Transfer};

mod kernel;

/// The worker's buffer: small, so that little data meets every limit.
const BUFFER: usize = 32;
/// Calls of one turn that may find out that they came too early: a read and a write of each side.
const TOO_EARLY: u32 = 4;
/// Turns in a row that are bound to be enough for all there is.
const TURNS: usize = 1000;

#[derive(Clone, Copy, Debug)]
enum Side {
    Client,
    Upstream,
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// The peer of this side sends, and may say that the last byte is urgent.
    Sends(Side, usize, bool),
    /// It says that this was all.
    Finishes(Side),
    /// It breaks the connection, and what it sent before may be lost with it.
    Resets(Side, bool),
    /// It takes some of what it was sent.
    Takes(Side, usize),
    /// The worker learns what is new of this side.
    IsReported(Side),
    /// The gate opens.
    Opens,
    /// There are no more pipes to be had, or there are again.
    LacksPipes(bool),
}

struct World {
    ends: [Socket<End>; 2],
    transfer: Transfer<Tank>,
    scratch: Scratch<Tank>,
    stand: Stand,
}

impl World {
    fn new(is_gated: bool, room: usize, grain: usize) -> Self {
        OUT_OF_PIPES.set(false);
        let end = || Socket::new(End::new(room, grain));
        Self {
            ends: [end(), end()],
            transfer: Transfer::new(is_gated),
            scratch: Scratch::new(BUFFER),
            stand: Stand::Waiting,
        }
    }

    fn kernel(&self, side: Side) -> RefMut<'_, Kernel> {
        self.ends[side as usize].get().kernel()
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Sends(side, count, urgent) => {
                let mut kernel = self.kernel(side);
                // No two bytes near each other are alike, nor are those of the two directions.
                let first = kernel.sent.len() + 100 * side as usize;
                let bytes = (0..=250_u8).cycle().skip(first % 251).take(count);
                kernel.sends(bytes, urgent);
            }
            Happening::Finishes(side) => self.kernel(side).finishes(),
            Happening::Resets(side, loses) => self.kernel(side).resets(loses),
            Happening::Takes(side, count) => self.kernel(side).takes(count),
            Happening::IsReported(side) => self.is_reported(side),
            Happening::Opens if self.transfer.is_gated() => {
                self.transfer.open_gate();
                self.goes_on();
            }
            Happening::Opens => {}
            Happening::LacksPipes(lacks) => OUT_OF_PIPES.set(lacks),
        }
    }

    fn is_reported(&mut self, side: Side) {
        let Some(event) = self.kernel(side).report() else { return };
        self.ends[side as usize].notice(event);
        self.goes_on();
    }

    /// What a worker does once it has learned something.
    fn goes_on(&mut self) {
        if matches!(self.stand, Stand::Over(_)) {
            return;
        }
        for _ in 0..TURNS {
            let [client, upstream] = &self.ends;
            self.scratch.work.begin_part();
            self.stand = self.transfer.advance(client, upstream, &mut self.scratch);
            let sides = [Side::Client, Side::Upstream];
            let too_early: u32 =
                sides.map(|side| mem::take(&mut self.kernel(side).too_early)).iter().sum();
            assert!(too_early <= TOO_EARLY, "{too_early} calls for nothing");
            if self.stand != Stand::Busy {
                return;
            }
        }
        panic!("it is busy for ever");
    }

    /// Holds at any moment.
    fn check(&self) {
        let (client, upstream) = (self.kernel(Side::Client), self.kernel(Side::Upstream));
        for (from, to) in [(&client, &upstream), (&upstream, &client)] {
            assert!(from.sent.starts_with(&to.received), "{:?} of {:?}", to.received, from.sent);
            let is_whole = from.has_finished && to.received.len() == from.sent.len();
            assert!(!to.is_ended || is_whole, "an end before its time");
            let is_over = to.is_ended || to.is_reset || matches!(self.stand, Stand::Over(_));
            assert!(!to.awaits_end || is_over, "bytes wait for an end that does not come");
        }
        let moved = (upstream.received.len() as u64, client.received.len() as u64);
        assert_eq!(self.transfer.moved(), moved);
        if self.transfer.is_gated() {
            assert!(client.is_reset || client.queue.len() == client.sent.len(), "read too early");
        }
    }

    /// Nothing holds it up any more.
    fn becomes_free(&mut self) {
        OUT_OF_PIPES.set(false);
        self.goes_on();
        self.happens(Happening::Opens);
    }

    /// Both peers take what there is for them, while neither ends. Nothing may be left behind.
    fn comes_to_rest(&mut self) {
        for _ in 0..TURNS {
            for side in [Side::Client, Side::Upstream] {
                self.happens(Happening::Takes(side, 7));
                self.happens(Happening::IsReported(side));
            }
            self.check();
        }
        let (client, upstream) = (self.kernel(Side::Client), self.kernel(Side::Upstream));
        if !client.is_reset && !upstream.is_reset {
            assert_eq!(upstream.received, client.sent, "stalled: {:#?}", self.transfer);
            assert_eq!(client.received, upstream.sent, "stalled: {:#?}", self.transfer);
        }
    }

    /// Both peers come to their ends. Then it has to be over.
    fn settles(&mut self) -> Ending {
        for side in [Side::Client, Side::Upstream] {
            self.happens(Happening::Finishes(side));
        }
        for _ in 0..TURNS {
            for side in [Side::Client, Side::Upstream] {
                self.happens(Happening::Takes(side, 7));
                self.happens(Happening::IsReported(side));
            }
            self.check();
            if let Stand::Over(ending) = self.stand {
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

fn happening() -> impl Strategy<Value = Happening> {
    let side = || prop_oneof![Just(Side::Client), Just(Side::Upstream)];
    prop_oneof![
        30 => (side(), 1..150_usize, prop::bool::weighted(0.1))
            .prop_map(|(side, count, urgent)| Happening::Sends(side, count, urgent)),
        20 => (side(), 1..100_usize).prop_map(|(side, count)| Happening::Takes(side, count)),
        30 => side().prop_map(Happening::IsReported),
        2 => side().prop_map(Happening::Finishes),
        1 => (side(), any::<bool>()).prop_map(|(side, loses)| Happening::Resets(side, loses)),
        2 => Just(Happening::Opens),
        3 => any::<bool>().prop_map(Happening::LacksPipes),
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
        happenings in vec(happening(), 0..100),
    ) {
        let mut world = World::new(is_gated, room, grain);
        world.goes_on();
        for happening in happenings {
            world.happens(happening);
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
