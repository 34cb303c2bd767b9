//! What a flow needs of a connection, and whether it is worth asking for it now.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};

use crate::sys::pipe::Pipe;
use crate::sys::poll::Event;
use crate::sys::socket;

/// A pipe that bytes can be left in on their way.
pub trait Conduit: Sized {
    /// An empty one.
    fn open() -> io::Result<Self>;
}

impl Conduit for Pipe {
    fn open() -> io::Result<Self> {
        Self::open()
    }
}

/// A connection that never blocks: what can't be done now is `WouldBlock`.
pub trait Stream {
    /// What its bytes can be left in.
    type Pipe: Conduit;

    /// Reads what is there; 0 is the end of data. Fewer bytes than asked for are all there are, or
    /// all before an urgent one.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes some of it.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// The same with the last bytes, if the end of data follows at once.
    fn write_before_end(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Moves some of what is there into an empty pipe, but no urgent byte, and nothing behind it: 0
    /// is the end of data, or such a byte and the end somewhere behind it.
    fn fill(&self, pipe: &Self::Pipe) -> io::Result<usize>;
    /// Moves up to `length` bytes out of a pipe, which holds so many.
    fn drain(&self, pipe: &Self::Pipe, length: usize) -> io::Result<usize>;
    /// Says that nothing more will be written.
    fn end(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    type Pipe = Pipe;

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self;
        io::Read::read(&mut stream, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self;
        io::Write::write(&mut stream, bytes)
    }

    fn write_before_end(&self, bytes: &[u8]) -> io::Result<usize> {
        socket::send_before_end(self, bytes)
    }

    fn fill(&self, pipe: &Pipe) -> io::Result<usize> {
        pipe.fill_from(self)
    }

    fn drain(&self, pipe: &Pipe, length: usize) -> io::Result<usize> {
        pipe.drain_to(self, length)
    }

    fn end(&self) -> io::Result<()> {
        match self.shutdown(Shutdown::Write) {
            // A peer that is gone already needs no end.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

/// A connection, with what the last event said of it. A call that can't succeed is not made: the
/// kernel reports a change once, so what was seen has to be remembered.
#[derive(Debug)]
pub struct Socket<S = TcpStream> {
    stream: S,
    readable: Cell<bool>,
    writable: Cell<bool>,
    /// Nothing will come behind what is there, so a short read says nothing.
    ended: Cell<bool>,
    /// It has failed, and may do so again before what is there is read.
    failed: Cell<bool>,
    /// An urgent byte may cut a read short, and keeps bytes from being spliced.
    marked: Cell<bool>,
}

impl<S> Socket<S> {
    /// One of which nothing is known: everything is worth a try.
    pub const fn new(stream: S) -> Self {
        let (readable, writable) = (Cell::new(true), Cell::new(true));
        let [ended, failed, marked] = [const { Cell::new(false) }; 3];
        Self { stream, readable, writable, ended, failed, marked }
    }

    /// The socket itself.
    pub fn get(&self) -> &S {
        &self.stream
    }

    /// Takes in what an event says.
    pub fn notice(&self, event: Event) {
        self.readable.set(self.readable.get() || event.readable);
        self.writable.set(self.writable.get() || event.writable);
        self.ended.set(self.ended.get() || event.ended);
        self.failed.set(self.failed.get() || event.failed);
        self.marked.set(self.marked.get() || event.urgent);
    }

    /// Whether the peer has said that it will send no more.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Whether the connection has failed.
    pub fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// Whether the next read that is not full is the last: the peer has ended, the connection is
    /// whole, and nothing can cut the read short.
    pub fn ends_with_short_read(&self) -> bool {
        self.ended.get() && !self.failed.get() && !self.marked.get()
    }

    /// Whether there may be an urgent byte, which can only be read.
    pub fn is_marked(&self) -> bool {
        self.marked.get()
    }

    /// What is there was looked at and left there: only more of it is news.
    pub fn await_more(&self) {
        self.readable.set(false);
    }

    /// Nothing is to be written before the next event says so.
    pub fn await_writable(&self) {
        self.writable.set(false);
    }

    /// Everything is worth a try again: there may be more than was told of.
    pub fn try_again(&self) {
        self.readable.set(true);
        self.writable.set(true);
    }

    /// It may have become writable.
    pub fn try_writing(&self) {
        self.writable.set(true);
    }

    /// Whether writing is worth a try.
    pub fn is_writable(&self) -> bool {
        self.writable.get()
    }

    fn when<T>(flag: &Cell<bool>, attempt: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if !flag.get() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let result = attempt();
        if matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            flag.set(false);
        }
        result
    }
}

impl<S: Stream> Socket<S> {
    /// Whether reading is worth a try.
    pub fn may_have_more(&self) -> bool {
        self.readable.get()
    }

    /// See [`Stream::read`].
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = Self::when(&self.readable, || self.stream.read(buffer));
        match &result {
            // A short read has emptied the socket: the next byte is reported anew (epoll(7)).
            Ok(read) if *read < buffer.len() && !self.ended.get() && !self.marked.get() => {
                self.readable.set(false);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.marked.set(false),
            _ => {}
        }
        result
    }

    /// See [`Stream::write`].
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::when(&self.writable, || self.stream.write(bytes))
    }

    /// See [`Stream::write_before_end`].
    pub fn write_before_end(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::when(&self.writable, || self.stream.write_before_end(bytes))
    }

    /// See [`Stream::fill`].
    pub fn fill(&self, pipe: &S::Pipe) -> io::Result<usize> {
        Self::when(&self.readable, || self.stream.fill(pipe))
    }

    /// See [`Stream::drain`].
    pub fn drain(&self, pipe: &S::Pipe, length: usize) -> io::Result<usize> {
        Self::when(&self.writable, || self.stream.drain(pipe, length))
    }

    /// See [`Stream::end`].
    pub fn end(&self) -> io::Result<()> {
        self.stream.end()
    }
}
