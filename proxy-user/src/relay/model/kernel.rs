//! Models of a non-blocking connection, of a pipe, and of an edge-triggered epoll that reports a change
//! once, at any time later, with what is true by then.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem;

use crate::relay::stream::{PipeLike, Stream};
use crate::sys::poll::Event;

/// A pipe's size: small, so that little data meets every limit.
pub const CAPACITY: usize = 48;

thread_local! {
    /// How many pipes are open.
    pub static OPEN_PIPES: Cell<usize> = const { Cell::new(0) };
    /// Whether no more can be opened.
    pub static OUT_OF_PIPES: Cell<bool> = const { Cell::new(false) };
}

/// A model of a pipe.
#[derive(Debug)]
pub struct ModelPipe(RefCell<VecDeque<u8>>);

impl PipeLike for ModelPipe {
    fn open() -> io::Result<Self> {
        if OUT_OF_PIPES.get() {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        OPEN_PIPES.set(OPEN_PIPES.get() + 1);
        Ok(Self(RefCell::default()))
    }
}

impl Drop for ModelPipe {
    fn drop(&mut self) {
        OPEN_PIPES.set(OPEN_PIPES.get() - 1);
    }
}

/// A connection, as the kernel and the peer at its other end have it.
#[allow(clippy::struct_excessive_bools, reason = "each is true or not at any moment, by itself")]
#[derive(Debug, Default)]
pub struct Kernel {
    /// Everything that the peer has sent.
    pub sent: Vec<u8>,
    /// What is still to be read of it.
    pub queue: VecDeque<u8>,
    /// How many of these bytes precede the last urgent one.
    mark: Option<usize>,
    pub has_finished: bool,
    pub is_reset: bool,
    /// What the peer has received or will receive.
    pub received: Vec<u8>,
    pub is_ended: bool,
    /// What was written last waits for the FIN.
    pub awaits_end: bool,
    /// How many bytes can be written before the peer takes some.
    room: usize,
    /// A write was refused, so room is an event.
    is_awaited: bool,
    has_news: bool,
    /// How many calls could not succeed.
    pub spurious_calls: u32,
}

impl Kernel {
    /// The peer sends these bytes; with `urgent`, the last of them is urgent.
    pub fn sends(&mut self, bytes: impl Iterator<Item = u8> + Clone, urgent: bool) {
        if self.has_finished || self.is_reset {
            return;
        }
        self.queue.extend(bytes.clone());
        self.sent.extend(bytes);
        if urgent {
            self.mark = self.queue.len().checked_sub(1);
        }
        self.has_news = true;
    }

    /// The peer ends its direction.
    pub fn finishes(&mut self) {
        self.has_news |= !self.has_finished && !self.is_reset;
        self.has_finished |= !self.is_reset;
    }

    /// The peer resets the connection; with `loses`, what it sent before is lost.
    pub fn resets(&mut self, loses: bool) {
        self.has_news |= !self.is_reset;
        self.is_reset = true;
        if loses {
            self.queue.clear();
            self.mark = None;
        }
    }

    /// The peer takes some of what it was sent.
    pub fn takes(&mut self, count: usize) {
        self.room += count;
        self.has_news |= mem::take(&mut self.is_awaited);
    }

    /// The event that epoll reports, if there is one.
    pub fn report(&mut self) -> Option<Event> {
        mem::take(&mut self.has_news).then(|| Event {
            token: 0,
            readable: !self.queue.is_empty() || self.has_finished || self.is_reset,
            writable: self.room > 0 || self.is_reset,
            ended: self.has_finished || self.is_reset,
            failed: self.is_reset,
            urgent: self.mark.is_some(),
        })
    }

    fn not_yet<T>(&mut self) -> io::Result<T> {
        self.spurious_calls += 1;
        Err(ErrorKind::WouldBlock.into())
    }

    /// What a read gets: everything up to an urgent byte, or from it on.
    fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let until_mark = self.mark.filter(|ahead| *ahead > 0);
        self.take(until_mark.map_or(most, |ahead| most.min(ahead)))
    }

    /// What a splice gets: everything up to an urgent byte.
    fn splice(&mut self, most: usize) -> io::Result<Vec<u8>> {
        match self.mark {
            Some(0) => self.take(0),
            mark => self.take(mark.map_or(most, |ahead| most.min(ahead))),
        }
    }

    fn take(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let length = most.min(self.queue.len());
        match length {
            0 if self.is_reset => Err(ErrorKind::ConnectionReset.into()),
            0 if self.has_finished => Ok(Vec::new()),
            0 => self.not_yet(),
            _ => {
                self.mark = self.mark.and_then(|ahead| ahead.checked_sub(length));
                Ok(self.queue.drain(..length).collect())
            }
        }
    }

    fn accept(&mut self, bytes: impl ExactSizeIterator<Item = u8>) -> io::Result<usize> {
        assert!(!self.is_ended, "something is written after the end");
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
}

/// Our socket.
#[derive(Debug)]
pub struct ModelStream {
    kernel: RefCell<Kernel>,
    /// How many bytes a splice moves at most.
    grain: usize,
}

impl ModelStream {
    /// A connection with this much room for writes at first.
    pub fn new(room: usize, grain: usize) -> Self {
        Self { kernel: RefCell::new(Kernel { room, ..Kernel::default() }), grain }
    }

    /// The kernel behind it.
    pub fn kernel(&self) -> RefMut<'_, Kernel> {
        self.kernel.borrow_mut()
    }
}

impl Stream for ModelStream {
    type Pipe = ModelPipe;

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.kernel().read(buffer.len())?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.kernel().accept(bytes.iter().copied())
    }

    fn write_before_fin(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.write(bytes)?;
        self.kernel().awaits_end = written == bytes.len();
        Ok(written)
    }

    fn splice_into(&self, pipe: &ModelPipe) -> io::Result<usize> {
        let mut pipe = pipe.0.borrow_mut();
        assert!(pipe.is_empty(), "a pipe has bytes left in it");
        pipe.extend(self.kernel().splice(self.grain.min(CAPACITY))?);
        Ok(pipe.len())
    }

    fn splice_from(&self, pipe: &ModelPipe, length: usize) -> io::Result<usize> {
        let mut pipe = pipe.0.borrow_mut();
        assert_eq!(pipe.len(), length, "what is thought to be in the pipe");
        let most = length.min(self.grain);
        let given = self.kernel().accept(pipe.range(..most).copied())?;
        pipe.drain(..given);
        Ok(given)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        let mut kernel = self.kernel();
        assert!(!kernel.is_ended, "it is ended twice");
        kernel.is_ended = true;
        Ok(())
    }
}
