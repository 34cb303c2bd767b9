//! One direction of a connection: takes bytes from its source and gives each of them, once and in
//! order, to its sink; then passes the end of data on.
//!
//! Small amounts are copied through the worker's buffer; once a read fills half of it, bytes are
//! spliced through a pipe until the source runs dry. Nothing is read while something is still to
//! be written, so a slow sink slows its source, and at most one read's worth is held.

use std::io::{self, ErrorKind};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pipes::Pipes;
use crate::sys::pipe::Pipe;

/// Bytes copied at once; one such buffer serves a whole worker.
pub const BUFFER: usize = 64 * 1024;
/// Steps in a row before others get their turn.
const BUDGET: usize = 32;

/// A worker's resources that its flows share, one at a time.
#[derive(Debug)]
pub struct Shared {
    buffer: Box<[u8]>,
    pipes: Pipes,
}

impl Default for Shared {
    fn default() -> Self {
        Self { buffer: vec![0; BUFFER].into_boxed_slice(), pipes: Pipes::default() }
    }
}

impl Shared {
    /// Reads what is there and forgets it; 0 is the end of data.
    pub fn discard(&mut self, stream: &TcpStream) -> io::Result<usize> {
        stream.try_read(&mut self.buffer)
    }
}

/// Which end of a flow failed.
#[derive(Debug)]
pub enum FlowError {
    /// Nothing more comes from the source.
    Source(io::Error),
    /// Nothing more goes to the sink.
    Sink(io::Error),
}

/// Bytes that the source has given and the sink has not yet taken.
#[derive(Debug)]
enum Held {
    Nothing,
    Copied { bytes: Vec<u8>, written: usize },
    Piped { pipe: Pipe, length: usize },
}

/// How the next bytes are to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Copy,
    Splice,
}

/// One direction and where it stands.
#[derive(Debug)]
pub struct Flow {
    held: Held,
    way: Way,
    source_ended: bool,
    moved: u64,
}

/// One step's outcome.
enum Step {
    /// There may be more to do at once.
    More,
    /// Every byte and the end of data are with the sink.
    Done,
}

impl Flow {
    /// A flow at its beginning.
    pub const fn new() -> Self {
        Self { held: Held::Nothing, way: Way::Copy, source_ended: false, moved: 0 }
    }

    /// Bytes that the sink has taken.
    pub const fn moved(&self) -> u64 {
        self.moved
    }

    /// Moves what can be moved now. Ready when the sink has been told the end of data, or when an
    /// end has failed.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        shared: &mut Shared,
    ) -> Poll<Result<(), FlowError>> {
        for _ in 0..BUDGET {
            match ready!(self.step(cx, source, sink, shared))? {
                Step::More => {}
                Step::Done => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn step(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        shared: &mut Shared,
    ) -> Poll<Result<Step, FlowError>> {
        if !matches!(self.held, Held::Nothing) {
            return self.give(cx, sink, &shared.pipes).map_err(FlowError::Sink);
        }
        if self.source_ended {
            return Poll::Ready(end(sink).map(|()| Step::Done).map_err(FlowError::Sink));
        }
        match self.way {
            Way::Copy => self.copy(cx, source, sink, &mut shared.buffer),
            Way::Splice => self.splice(cx, source, &shared.pipes),
        }
    }

    /// Gives the sink some of what is held.
    fn give(
        &mut self,
        cx: &mut Context<'_>,
        sink: &TcpStream,
        pipes: &Pipes,
    ) -> Poll<io::Result<Step>> {
        let given = match &mut self.held {
            Held::Nothing => 0,
            Held::Copied { bytes, written } => {
                let given = ready!(retry(
                    || sink.try_write(&bytes[*written..]),
                    || sink.poll_write_ready(cx)
                ))?;
                *written += given;
                if *written == bytes.len() {
                    self.held = Held::Nothing;
                }
                given
            }
            Held::Piped { pipe, length } => {
                let drain = || sink.try_io(Interest::WRITABLE, || pipe.drain_to(sink, *length));
                let given = ready!(retry(drain, || sink.poll_write_ready(cx)))?;
                *length -= given;
                if *length == 0
                    && let Held::Piped { pipe, .. } =
                        std::mem::replace(&mut self.held, Held::Nothing)
                {
                    pipes.put_back(pipe);
                }
                given
            }
        };
        self.moved += given as u64;
        Poll::Ready(Ok(Step::More))
    }

    /// Reads once and writes what the sink takes at once; the rest is held.
    fn copy(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        buffer: &mut [u8],
    ) -> Poll<Result<Step, FlowError>> {
        let read = ready!(retry(|| source.try_read(buffer), || source.poll_read_ready(cx)));
        let read = read.map_err(FlowError::Source)?;
        if read == 0 {
            self.source_ended = true;
            return Poll::Ready(Ok(Step::More));
        }
        if read >= buffer.len() / 2 {
            self.way = Way::Splice;
        }
        let bytes = &buffer[..read];
        let written = match sink.try_write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Poll::Ready(Err(FlowError::Sink(error))),
        };
        self.moved += written as u64;
        if written < read {
            self.held = Held::Copied { bytes: bytes[written..].to_vec(), written: 0 };
        }
        Poll::Ready(Ok(Step::More))
    }

    /// Fills an empty pipe from the source. The pipe is borrowed only while the source has bytes.
    fn splice(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        pipes: &Pipes,
    ) -> Poll<Result<Step, FlowError>> {
        let Ok(pipe) = pipes.take() else {
            // Out of descriptors or pipe memory: copying needs neither.
            self.way = Way::Copy;
            return Poll::Ready(Ok(Step::More));
        };
        // The pipe is empty, so `WouldBlock` can only mean that the source is.
        match source.try_io(Interest::READABLE, || pipe.fill_from(source)) {
            Ok(0) => {
                self.source_ended = true;
                pipes.put_back(pipe);
            }
            Ok(length) => self.held = Held::Piped { pipe, length },
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                pipes.put_back(pipe);
                self.way = Way::Copy;
                ready!(source.poll_read_ready(cx)).map_err(FlowError::Source)?;
            }
            Err(error) => return Poll::Ready(Err(FlowError::Source(error))),
        }
        Poll::Ready(Ok(Step::More))
    }
}

/// Passes the end of data on. A sink that is gone already needs no end.
fn end(sink: &TcpStream) -> io::Result<()> {
    use std::net::Shutdown;
    match socket2::SockRef::from(sink).shutdown(Shutdown::Write) {
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// Tries until it works, or until the socket is really not ready; then the task is woken in time.
fn retry<T>(
    mut attempt: impl FnMut() -> io::Result<T>,
    mut poll_ready: impl FnMut() -> Poll<io::Result<()>>,
) -> Poll<io::Result<T>> {
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(poll_ready())?,
            result => return Poll::Ready(result),
        }
    }
}
