//! The transfer against a model of the kernel: short reads and writes, full and empty buffers, ends
//! and resets in every order, and each byte compared.
//!
//! Flows, pool and what [`Socket`] remembers of edges are the real ones. Modelled is what is beyond
//! [`Stream`]: a connection that blocks nobody, and an epoll that reports a change once, whenever it
//! likes, by what is true then.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem;

use proptest::collection::vec;
use proptest::prelude::*;
use proxy_common::Reason;

use super::flow::Shared;
use super::stream::{Conduit, Socket, Stream};
use super::transfer::{Ending, Stand, Transfer};
use crate::sys::poll::Event;

/// The worker's buffer and a pipe's size: small, so that little data meets every limit.
const BUFFER: usize = 32;
const CAPACITY: usize = 48;
/// Calls of one turn that may find out that they came too early: a read and a write of each side.
const TOO_EARLY: u32 = 4;
/// Turns in a row that are bound to be enough for all there is.
const TURNS: usize = 1000;

thread_local! {
    static OPEN_PIPES: Cell<usize> = const { Cell::new(0) };
    static OUT_OF_PIPES: Cell<bool> = const { Cell::new(false) };
}

/// A pipe.
#[derive(Debug)]
struct Tank(RefCell<VecDeque<u8>>);

impl Conduit for Tank {
    fn open() -> io::Result<Self> {
        if OUT_OF_PIPES.get() {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        OPEN_PIPES.set(OPEN_PIPES.get() + 1);
        Ok(Self(RefCell::default()))
    }
}

impl Drop for Tank {
    fn drop(&mut self) {
        OPEN_PIPES.set(OPEN_PIPES.get() - 1);
    }
}

/// A connection, as the kernel and the peer at its other end have it.
#[allow(clippy::struct_excessive_bools, reason = "each is true or not at any moment, by itself")]
#[derive(Debug, Default)]
struct Kernel {
    /// All that the peer ever sent.
    sent: Vec<u8>,
    /// What of it is still to be read.
    queue: VecDeque<u8>,
    has_finished: bool,
    is_reset: bool,
    /// What the peer gets.
    received: Vec<u8>,
    is_ended: bool,
    /// What was written last waits for the end.
    awaits_end: bool,
    /// Bytes that can be written before the peer takes some.
    room: usize,
    /// A write was refused, so room is news.
    is_awaited: bool,
    has_news: bool,
    too_early: u32,
}

impl Kernel {
    fn not_yet<T>(&mut self) -> io::Result<T> {
        self.too_early += 1;
        Err(ErrorKind::WouldBlock.into())
    }

    fn take(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let length = most.min(self.queue.len());
        match length {
            0 if self.is_reset => Err(ErrorKind::ConnectionReset.into()),
            0 if self.has_finished => Ok(Vec::new()),
            0 => self.not_yet(),
            _ => Ok(self.queue.drain(..length).collect()),
        }
    }

    fn accept(&mut self, bytes: impl ExactSizeIterator<Item = u8>) -> io::Result<usize> {
        assert!(!self.is_ended, "something is written behind the end");
        assert!(bytes.len() > 0, "nothing is written");
        if self.is_reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let length = bytes.len().min(self.room);
        if length == 0 {
            self.is_awaited = true;
            return self.not_yet();
        }
        self.received.extend(bytes.take(length));
        self.awaits_end = false;
        self.room -= length;
        Ok(length)
    }

    /// What epoll says when it is asked.
    fn event(&self) -> Event {
        Event {
            token: 0,
            readable: !self.queue.is_empty() || self.has_finished || self.is_reset,
            writable: self.room > 0 || self.is_reset,
            ended: self.has_finished || self.is_reset,
            failed: self.is_reset,
        }
    }
}

/// Our end of it. Splices move at most so many bytes at once.
#[derive(Debug)]
struct End {
    kernel: RefCell<Kernel>,
    grain: usize,
}

impl Stream for End {
    type Pipe = Tank;

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.kernel.borrow_mut().take(buffer.len())?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.kernel.borrow_mut().accept(bytes.iter().copied())
    }

    fn write_before_end(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.write(bytes)?;
        self.kernel.borrow_mut().awaits_end = written == bytes.len();
        Ok(written)
    }

    fn fill(&self, pipe: &Tank) -> io::Result<usize> {
        let mut pipe = pipe.0.borrow_mut();
        assert!(pipe.is_empty(), "a pipe has bytes of somebody in it");
        pipe.extend(self.kernel.borrow_mut().take(self.grain.min(CAPACITY))?);
        Ok(pipe.len())
    }

    fn drain(&self, pipe: &Tank, length: usize) -> io::Result<usize> {
        let mut pipe = pipe.0.borrow_mut();
        assert_eq!(pipe.len(), length, "what is thought to be in the pipe");
        let most = length.min(self.grain);
        let given = self.kernel.borrow_mut().accept(pipe.range(..most).copied())?;
        pipe.drain(..given);
        Ok(given)
    }

    fn end(&self) -> io::Result<()> {
        let mut kernel = self.kernel.borrow_mut();
        assert!(!kernel.is_ended, "it is ended twice");
        kernel.is_ended = true;
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Client,
    Upstream,
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// The peer of this side sends.
    Sends(Side, usize),
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
    shared: Shared<Tank>,
    stand: Stand,
}

impl World {
    fn new(is_gated: bool, room: usize, grain: usize) -> Self {
        OUT_OF_PIPES.set(false);
        let end = || {
            let kernel = Kernel { room, ..Kernel::default() };
            Socket::new(End { kernel: RefCell::new(kernel), grain })
        };
        Self {
            ends: [end(), end()],
            transfer: Transfer::new(is_gated),
            shared: Shared::new(BUFFER),
            stand: Stand::Waiting,
        }
    }

    fn kernel(&self, side: Side) -> RefMut<'_, Kernel> {
        self.ends[side as usize].get().kernel.borrow_mut()
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Sends(side, count) => {
                let mut kernel = self.kernel(side);
                if !kernel.has_finished && !kernel.is_reset {
                    // No two bytes near each other are alike, nor are those of the two directions.
                    let first = kernel.sent.len() + 100 * side as usize;
                    let bytes = (0..=250_u8).cycle().skip(first % 251).take(count);
                    kernel.queue.extend(bytes.clone());
                    kernel.sent.extend(bytes);
                    kernel.has_news = true;
                }
            }
            Happening::Finishes(side) => {
                let mut kernel = self.kernel(side);
                kernel.has_news |= !kernel.has_finished && !kernel.is_reset;
                kernel.has_finished |= !kernel.is_reset;
            }
            Happening::Resets(side, loses) => {
                let mut kernel = self.kernel(side);
                kernel.has_news |= !kernel.is_reset;
                kernel.is_reset = true;
                if loses {
                    kernel.queue.clear();
                }
            }
            Happening::Takes(side, count) => {
                let mut kernel = self.kernel(side);
                kernel.room += count;
                kernel.has_news |= kernel.is_awaited;
                kernel.is_awaited = false;
            }
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
        let event = {
            let mut kernel = self.kernel(side);
            if !mem::take(&mut kernel.has_news) {
                return;
            }
            kernel.event()
        };
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
            self.stand = self.transfer.advance(client, upstream, &mut self.shared);
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

    /// Both peers come to their ends, and take what there is for them. Then it has to be over.
    fn settles(&mut self) -> Ending {
        OUT_OF_PIPES.set(false);
        self.goes_on();
        self.happens(Happening::Opens);
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
        let kernels = self.ends.each_ref().map(|end| end.get().kernel.borrow());
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
        30 => (side(), 1..150_usize).prop_map(|(side, count)| Happening::Sends(side, count)),
        20 => (side(), 1..100_usize).prop_map(|(side, count)| Happening::Takes(side, count)),
        30 => side().prop_map(Happening::IsReported),
        2 => side().prop_map(Happening::Finishes),
        1 => (side(), any::<bool>()).prop_map(|(side, loses)| Happening::Resets(side, loses)),
        2 => Just(Happening::Opens),
        3 => any::<bool>().prop_map(Happening::LacksPipes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_byte_arrives_once_whatever_happens(
        is_gated in any::<bool>(),
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
        let ending = world.settles();
        world.check_ending(ending);
        let World { transfer, shared, .. } = world;
        drop(shared);
        prop_assert!(ending != Ending::Complete || OPEN_PIPES.get() == 0, "a pipe is not given back");
        drop(transfer);
        prop_assert_eq!(OPEN_PIPES.get(), 0);
    }
}
