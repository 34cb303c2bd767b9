//! One direction of a connection: takes bytes from its source and gives each of them, once and in
//! message, to its sink; then passes the end of data on.
//!
//! Small amounts are copied through the worker's buffer; once a read fills half of it, bytes are
//! spliced through a pipe, until what is there would not fill half of it again. Nothing is read
//! while something is still to be written, so a slow sink slows its source, and at most one read's
//! worth is held.

use std::io::{self, ErrorKind};
use std::mem;

use super::pipes::Pipes;
use super::stream::{Conduit, Socket, Stream};
use super::work::{self, STEPS, Work};
use crate::sys::pipe::Pipe;

/// Bytes copied at once; one such buffer serves a whole worker.
pub const BUFFER: usize = 64 * 1024;

/// A worker's resources that its flows share, one at a time.
#[derive(Debug)]
pub struct Scratch<P = Pipe> {
    /// Holds nothing between two steps.
    pub buffer: Box<[u8]>,
    /// What has been done in this round.
    pub work: Work,
    pipes: Pipes<P>,
}

impl<P: Conduit> Scratch<P> {
    /// A buffer of this size, and no pipe yet.
    pub fn new(buffer: usize) -> Self {
        let buffer = vec![0; buffer].into_boxed_slice();
        Self { buffer, work: Work::default(), pipes: Pipes::new() }
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

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// An end is not ready; it will be reported when it is.
    Blocked,
    /// There is more to do at once, and others to be served first.
    Busy,
    /// Every byte and the end of data are with the sink.
    Done,
}

/// Bytes that the source has given and the sink has not yet taken.
#[derive(Debug)]
enum Held<P> {
    Nothing,
    Copied { bytes: Box<[u8]>, written: usize },
    Piped { pipe: P, length: usize },
}

/// How the next bytes are to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Copy,
    Splice,
}

/// One direction and where it stands.
#[derive(Debug)]
pub struct Flow<P = Pipe> {
    held: Held<P>,
    way: Way,
    source_ended: bool,
    moved: u64,
}

/// Whether a step was the last.
enum Step {
    More,
    Done,
}

impl<P> Flow<P> {
    /// A flow at its beginning.
    pub const fn new() -> Self {
        Self { held: Held::Nothing, way: Way::Copy, source_ended: false, moved: 0 }
    }

    /// Bytes that the sink has taken.
    pub const fn moved(&self) -> u64 {
        self.moved
    }

    /// Bytes that the source has given, and the sink has not yet taken.
    pub const fn held(&self) -> u64 {
        match &self.held {
            Held::Nothing => 0,
            Held::Copied { bytes, written } => (bytes.len() - *written) as u64,
            Held::Piped { length, .. } => *length as u64,
        }
    }
}

impl<P: Conduit> Flow<P> {
    /// Moves what can be moved now. The last flow of a connection leaves the end of data to the
    /// close, which follows at once and says it, too.
    pub fn advance<S: Stream<Pipe = P>>(
        &mut self,
        source: &Socket<S>,
        sink: &Socket<S>,
        scratch: &mut Scratch<P>,
        is_last: bool,
    ) -> Result<Progress, FlowError> {
        let mut steps = 0;
        while steps < STEPS {
            if is_last && self.has_given_all() {
                return Ok(Progress::Done);
            }
            let cost = self.cost();
            match self.step(source, sink, scratch) {
                Ok(Step::More) => {
                    steps += cost;
                    scratch.work.count(cost);
                }
                Ok(Step::Done) => return Ok(Progress::Done),
                Err(FlowError::Source(error) | FlowError::Sink(error))
                    if error.kind() == ErrorKind::WouldBlock =>
                {
                    return Ok(Progress::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::Busy)
    }

    /// What the next step will count as.
    const fn cost(&self) -> u32 {
        match (&self.held, self.way) {
            (Held::Piped { .. }, _) | (Held::Nothing, Way::Splice) => work::SPLICE,
            (Held::Copied { .. }, _) | (Held::Nothing, Way::Copy) => 1,
        }
    }

    fn has_given_all(&self) -> bool {
        self.source_ended && matches!(self.held, Held::Nothing)
    }

    fn step<S: Stream<Pipe = P>>(
        &mut self,
        source: &Socket<S>,
        sink: &Socket<S>,
        scratch: &mut Scratch<P>,
    ) -> Result<Step, FlowError> {
        if self.has_given_all() {
            return sink.end().map(|()| Step::Done).map_err(FlowError::Sink);
        }
        if matches!(self.held, Held::Nothing) {
            match self.way {
                Way::Copy => self.copy(source, sink, &mut scratch.buffer)?,
                Way::Splice => self.splice(source, scratch).map_err(FlowError::Source)?,
            }
        } else {
            self.give(sink, &mut scratch.pipes).map_err(FlowError::Sink)?;
        }
        Ok(Step::More)
    }

    /// Gives the sink some of what is held.
    fn give<S: Stream<Pipe = P>>(
        &mut self,
        sink: &Socket<S>,
        pipes: &mut Pipes<P>,
    ) -> io::Result<()> {
        let given = match &mut self.held {
            Held::Nothing => 0,
            Held::Copied { bytes, written } => {
                let given = sink.write(&bytes[*written..])?;
                *written += given;
                if *written == bytes.len() {
                    self.held = Held::Nothing;
                }
                given
            }
            Held::Piped { pipe, length } => {
                let given = sink.drain(pipe, *length)?;
                *length -= given;
                if *length == 0
                    && let Held::Piped { pipe, .. } = mem::replace(&mut self.held, Held::Nothing)
                {
                    pipes.put_back(pipe);
                }
                given
            }
        };
        self.moved += given as u64;
        Ok(())
    }

    /// Reads once and writes what the sink takes at once; the rest is held.
    fn copy<S: Stream>(
        &mut self,
        source: &Socket<S>,
        sink: &Socket<S>,
        buffer: &mut [u8],
    ) -> Result<(), FlowError> {
        let read = source.read(buffer).map_err(FlowError::Source)?;
        if read == 0 {
            self.source_ended = true;
            return Ok(());
        }
        if read >= buffer.len() / 2 {
            self.way = Way::Splice;
        }
        self.source_ended = read < buffer.len() && source.ends_with_short_read();
        let bytes = &buffer[..read];
        let written =
            if self.source_ended { sink.write_before_end(bytes) } else { sink.write(bytes) };
        let written = match written {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(FlowError::Sink(error)),
        };
        self.moved += written as u64;
        if written < read {
            self.held = Held::Copied { bytes: bytes[written..].into(), written: 0 };
        }
        Ok(())
    }

    /// Fills an empty pipe from the source. The pipe is borrowed only while the source has bytes.
    fn splice<S: Stream<Pipe = P>>(
        &mut self,
        source: &Socket<S>,
        scratch: &mut Scratch<P>,
    ) -> io::Result<()> {
        if !source.may_have_more() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if source.is_marked() {
            self.way = Way::Copy;
            return Ok(());
        }
        let Ok(pipe) = scratch.pipes.take() else {
            // Out of descriptors or pipe memory: copying needs neither.
            self.way = Way::Copy;
            return Ok(());
        };
        // The pipe is empty, so `WouldBlock` can only mean that the source is.
        match source.fill(&pipe) {
            // The end, or an urgent byte that came just now: a read tells.
            Ok(0) => {
                self.way = Way::Copy;
                scratch.pipes.put_back(pipe);
            }
            Ok(length) => {
                if length < scratch.buffer.len() / 2 {
                    self.way = Way::Copy;
                }
                self.held = Held::Piped { pipe, length };
            }
            Err(error) => {
                if error.kind() == ErrorKind::WouldBlock {
                    scratch.pipes.put_back(pipe);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}
