//! One direction of a connection: takes bytes from its source and gives each of them, once and in order,
//! to its sink; then passes the end of data on.
//!
//! Small amounts are copied through the worker's buffer. Once a read fills half of it, bytes are spliced
//! through a pipe, until a splice moves less than that. Nothing is read while something is still to be
//! written, so a slow sink slows its source down, and no more than one read's worth is held.

use std::io::{self, ErrorKind};
use std::mem;
use std::ops::ControlFlow;

use super::pipes::Pipes;
use super::progress::Progress;
use super::step_budget::{self, STEPS, StepBudget};
use super::stream::{PipeLike, Socket, Stream};
use crate::sys::pipe::Pipe;

/// How many bytes are copied at once; one buffer serves a whole worker.
pub const BUFFER: usize = 64 * 1024;

/// What a worker's flows share: only one of them is active at a time.
#[derive(Debug)]
pub struct Scratch<P = Pipe> {
    /// Empty between two steps.
    pub buffer: Box<[u8]>,
    /// What the current part of the round may still do.
    pub budget: StepBudget,
    pipes: Pipes<P>,
}

impl<P: PipeLike> Scratch<P> {
    /// With a buffer of this size, and no pipe yet.
    pub fn new(buffer: usize) -> Self {
        let buffer = vec![0; buffer].into_boxed_slice();
        Self { buffer, budget: StepBudget::default(), pipes: Pipes::new() }
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

/// Bytes that the source has given and the sink has not taken yet.
#[derive(Debug)]
enum Held<P> {
    Nothing,
    Copied { bytes: Box<[u8]>, written: usize },
    Piped { pipe: P, length: usize },
}

/// How the next bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Copy,
    Splice,
}

/// One direction of a connection.
#[derive(Debug)]
pub struct Flow<P = Pipe> {
    held: Held<P>,
    method: Method,
    source_ended: bool,
    moved: u64,
}

impl<P> Flow<P> {
    /// A flow that has moved nothing.
    pub const fn new() -> Self {
        Self { held: Held::Nothing, method: Method::Copy, source_ended: false, moved: 0 }
    }

    /// How many bytes the sink has taken.
    pub const fn moved(&self) -> u64 {
        self.moved
    }

    /// How many bytes the source has given and the sink has not taken yet.
    pub const fn held(&self) -> u64 {
        match &self.held {
            Held::Nothing => 0,
            Held::Copied { bytes, written } => (bytes.len() - *written) as u64,
            Held::Piped { length, .. } => *length as u64,
        }
    }
}

impl<P: PipeLike> Flow<P> {
    /// Moves what can be moved now, and is done when the sink has every byte and the end of data. The last
    /// flow of a connection leaves the end to the close, which follows at once.
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
                return Ok(Progress::Done(()));
            }
            let cost = self.cost();
            match self.step(source, sink, scratch) {
                Ok(ControlFlow::Continue(())) => {
                    steps += cost;
                    scratch.budget.spend(cost);
                }
                Ok(ControlFlow::Break(())) => return Ok(Progress::Done(())),
                Err(FlowError::Source(error) | FlowError::Sink(error))
                    if error.kind() == ErrorKind::WouldBlock =>
                {
                    return Ok(Progress::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::Yielded)
    }

    /// What the next step counts as.
    const fn cost(&self) -> u32 {
        match (&self.held, self.method) {
            (Held::Piped { .. }, _) | (Held::Nothing, Method::Splice) => step_budget::SPLICE,
            (Held::Copied { .. }, _) | (Held::Nothing, Method::Copy) => 1,
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
    ) -> Result<ControlFlow<()>, FlowError> {
        if self.has_given_all() {
            return sink.shutdown_write().map(|()| ControlFlow::Break(())).map_err(FlowError::Sink);
        }
        if matches!(self.held, Held::Nothing) {
            match self.method {
                Method::Copy => self.copy(source, sink, &mut scratch.buffer)?,
                Method::Splice => self.splice(source, scratch).map_err(FlowError::Source)?,
            }
        } else {
            self.give(sink, &mut scratch.pipes).map_err(FlowError::Sink)?;
        }
        Ok(ControlFlow::Continue(()))
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
                let given = sink.splice_from(pipe, *length)?;
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

    /// Reads once, and writes what the sink takes of it; the rest is held.
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
            self.method = Method::Splice;
        }
        self.source_ended = read < buffer.len() && source.ends_with_short_read();
        let bytes = &buffer[..read];
        let written =
            if self.source_ended { sink.write_before_fin(bytes) } else { sink.write(bytes) };
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

    /// Fills an empty pipe from the source. A pipe is taken only while the source has bytes.
    fn splice<S: Stream<Pipe = P>>(
        &mut self,
        source: &Socket<S>,
        scratch: &mut Scratch<P>,
    ) -> io::Result<()> {
        if !source.is_readable() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if source.has_urgent() {
            self.method = Method::Copy;
            return Ok(());
        }
        let Ok(pipe) = scratch.pipes.take() else {
            // Descriptors or pipe memory have run out; copying needs neither.
            self.method = Method::Copy;
            return Ok(());
        };
        // The pipe is empty, so `WouldBlock` can only mean that the source is.
        match source.splice_into(&pipe) {
            // The end, or an urgent byte that has just arrived: a read tells.
            Ok(0) => {
                self.method = Method::Copy;
                scratch.pipes.put_back(pipe);
            }
            Ok(length) => {
                if length < scratch.buffer.len() / 2 {
                    self.method = Method::Copy;
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
