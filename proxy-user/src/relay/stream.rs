//! What a flow needs of a socket, and whether it is worth asking for it now.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};

use crate::sys::pipe::Pipe;
use crate::sys::poll::Event;
use crate::sys::socket;

/// A pipe, or a model of one, that bytes are spliced through.
pub trait PipeLike: Sized {
    /// Opens an empty pipe.
    fn open() -> io::Result<Self>;
}

impl PipeLike for Pipe {
    fn open() -> io::Result<Self> {
        Self::open()
    }
}

/// A socket, or a model of one, that never blocks: what can't be done now fails with `WouldBlock`.
pub trait Stream {
    /// The pipes that its bytes are spliced through.
    type Pipe: PipeLike;

    /// Reads what is there; 0 is the end of data. If it reads less than the buffer holds, that is all there
    /// is, or all before an urgent byte.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes some of the bytes.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes some of the last bytes, where the end of data follows at once: both leave together.
    fn write_before_fin(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Moves some of what is there into an empty pipe, up to an urgent byte. 0 is the end of data, or such a
    /// byte with the end somewhere behind it.
    fn splice_into(&self, pipe: &Self::Pipe) -> io::Result<usize>;
    /// Moves up to `length` bytes, as many as a pipe holds, out of it.
    fn splice_from(&self, pipe: &Self::Pipe, length: usize) -> io::Result<usize>;
    /// Ends our direction with a FIN.
    fn shutdown_write(&self) -> io::Result<()>;
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

    fn write_before_fin(&self, bytes: &[u8]) -> io::Result<usize> {
        socket::send_before_end(self, bytes)
    }

    fn splice_into(&self, pipe: &Pipe) -> io::Result<usize> {
        pipe.fill_from(self)
    }

    fn splice_from(&self, pipe: &Pipe, length: usize) -> io::Result<usize> {
        pipe.drain_to(self, length)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        match self.shutdown(Shutdown::Write) {
            // A peer that is gone needs no FIN.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

/// A socket with its readiness, as events have told it: the kernel reports a change once, so it has to be
/// remembered. A call that can't succeed is not made.
#[derive(Debug)]
pub struct Socket<S = TcpStream> {
    stream: S,
    readable: Cell<bool>,
    writable: Cell<bool>,
    /// Nothing follows what is there. A short read does not mean that the socket is empty then.
    ended: Cell<bool>,
    /// The connection has failed, and may fail again before everything that is there has been read.
    failed: Cell<bool>,
    /// There may be an urgent byte, which cuts reads short and can't be spliced.
    urgent: Cell<bool>,
}

impl<S> Socket<S> {
    /// A socket of which nothing is known: everything is worth a try.
    pub const fn new(stream: S) -> Self {
        let (readable, writable) = (Cell::new(true), Cell::new(true));
        let [ended, failed, urgent] = [const { Cell::new(false) }; 3];
        Self { stream, readable, writable, ended, failed, urgent }
    }

    /// The socket itself.
    pub fn get(&self) -> &S {
        &self.stream
    }

    /// Remembers what an event says.
    pub fn on_event(&self, event: Event) {
        self.readable.set(self.readable.get() || event.readable);
        self.writable.set(self.writable.get() || event.writable);
        self.ended.set(self.ended.get() || event.ended);
        self.failed.set(self.failed.get() || event.failed);
        self.urgent.set(self.urgent.get() || event.urgent);
    }

    /// Whether the peer has ended its direction.
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
        self.ended.get() && !self.failed.get() && !self.urgent.get()
    }

    /// Whether there may be an urgent byte, which can only be read.
    pub fn has_urgent(&self) -> bool {
        self.urgent.get()
    }

    /// What is there was examined and left there: nothing is read before more arrives.
    pub fn clear_readable(&self) {
        self.readable.set(false);
    }

    /// Nothing is written before the next event.
    pub fn clear_writable(&self) {
        self.writable.set(false);
    }

    /// Everything is worth a try again: an event may be still to come.
    pub fn set_ready(&self) {
        self.readable.set(true);
        self.writable.set(true);
    }

    /// It may have become writable.
    pub fn set_writable(&self) {
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
    pub fn is_readable(&self) -> bool {
        self.readable.get()
    }

    /// See [`Stream::read`].
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = Self::when(&self.readable, || self.stream.read(buffer));
        match &result {
            // A short read has emptied the socket: the next byte is reported again (epoll(7)).
            Ok(read) if *read < buffer.len() && !self.ended.get() && !self.urgent.get() => {
                self.readable.set(false);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.urgent.set(false),
            _ => {}
        }
        result
    }

    /// See [`Stream::write`].
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::when(&self.writable, || self.stream.write(bytes))
    }

    /// See [`Stream::write_before_fin`].
    pub fn write_before_fin(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::when(&self.writable, || self.stream.write_before_fin(bytes))
    }

    /// See [`Stream::splice_into`].
    pub fn splice_into(&self, pipe: &S::Pipe) -> io::Result<usize> {
        Self::when(&self.readable, || self.stream.splice_into(pipe))
    }

    /// See [`Stream::splice_from`].
    pub fn splice_from(&self, pipe: &S::Pipe, length: usize) -> io::Result<usize> {
        Self::when(&self.writable, || self.stream.splice_from(pipe, length))
    }

    /// See [`Stream::shutdown_write`].
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.stream.shutdown_write()
    }
}
