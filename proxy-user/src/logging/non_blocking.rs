//! A writer that never blocks: lines go into a bounded queue, and a thread of its own writes them.
//!
//! A terminal, a pipe or a disk may take nothing for hours, or be gone, and that is no reason to
//! delay or end a connection. So `enqueue` never waits and never fails, the queue is bounded in bytes,
//! and lost lines are counted and reported once the stream flows again. Only the thread waits, and it
//! does not keep the process from ending. (`tracing-appender` does nearly this; but it panics where
//! no thread can be had, bounds lines whatever their length, and prints to standard output when its
//! queue is full at the end.)

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;

/// Bytes that may be queued: a thousand lines or more.
const MAX_QUEUED: usize = 1 << 18;
/// How often losses are reported at most.
const PERIOD: Duration = Duration::from_secs(1);

thread_local! {
    /// Whether this thread tells of a loss right now: there is room left for that, in a full queue
    /// as well.
    static REPORTS_LOSS: Cell<bool> = const { Cell::new(false) };
}

/// A stream that a thread of its own writes to. Clones share the queue.
#[derive(Clone, Debug)]
pub struct NonBlockingWriter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something has been put.
    filled: Condvar,
    /// Everything has been written.
    emptied: Condvar,
    /// Lines.
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    texts: VecDeque<Vec<u8>>,
    /// Of all texts together.
    bytes: usize,
    /// Whether the thread has taken a text that it is not yet done with.
    is_writing: bool,
}

impl NonBlockingWriter {
    /// Starts the thread, under a name. `tell` is called there with the number of lines that were
    /// lost, whenever the stream has begun to flow again; it may put something.
    pub fn open(
        name: &str,
        stream: impl AsFd + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            lost: AtomicU64::new(0),
        });
        let writer = Writer { shared: Arc::clone(&shared), stream, tell };
        thread::Builder::new().name(name.to_owned()).spawn(|| writer.run())?;
        Ok(Self(shared))
    }

    /// Puts whole lines. They are lost if others wait already and there is no room behind them; a
    /// text that is alone may be of any length.
    pub fn enqueue(&self, text: Vec<u8>) {
        let room = if REPORTS_LOSS.get() { 2 * MAX_QUEUED } else { MAX_QUEUED };
        let mut queue = self.0.lock();
        if !queue.texts.is_empty() && queue.bytes + text.len() > room {
            drop(queue);
            return self.0.lose(&text);
        }
        queue.bytes += text.len();
        queue.texts.push_back(text);
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Lines that could not be written.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything has been written, or the time has come. Says which.
    pub fn flush(&self, until: Instant) -> bool {
        let mut queue = self.0.lock();
        while !queue.texts.is_empty() || queue.is_writing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.emptied.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, text: &[u8]) {
        let lines = text.split(|byte| *byte == b'\n').count().saturating_sub(1).max(1);
        self.lost.fetch_add(lines as u64, Ordering::Relaxed);
    }
}

/// What the thread has.
struct Writer<S, T> {
    shared: Arc<Shared>,
    stream: S,
    tell: T,
}

impl<S: AsFd, T: Fn(u64)> Writer<S, T> {
    fn run(self) {
        // A line of which only the beginning was written.
        let mut is_torn = false;
        let (mut told, mut told_at) = (0, None::<Instant>);
        loop {
            let text = self.take();
            let begun = if is_torn { self.write(b"\n") } else { Ok(()) };
            match begun.and_then(|()| self.write(&text)) {
                Ok(()) => is_torn = false,
                Err(written) => {
                    is_torn |= written > 0;
                    self.shared.lose(&text);
                    continue;
                }
            }
            let lost = self.shared.lost.load(Ordering::Relaxed);
            let has_caught_up = self.shared.lock().texts.is_empty();
            let may_tell = told_at.is_none_or(|at| at.elapsed() >= PERIOD);
            if lost > told && (has_caught_up || may_tell) {
                REPORTS_LOSS.set(true);
                (self.tell)(lost - told);
                REPORTS_LOSS.set(false);
                (told, told_at) = (lost, Some(Instant::now()));
            }
        }
    }

    /// Waits for a text.
    fn take(&self) -> Vec<u8> {
        let mut queue = self.shared.lock();
        queue.is_writing = false;
        loop {
            if let Some(text) = queue.texts.pop_front() {
                queue.bytes -= text.len();
                queue.is_writing = true;
                return text;
            }
            self.shared.emptied.notify_all();
            queue = self.shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes all of it, however long that takes; else returns how many bytes it has written.
    fn write(&self, text: &[u8]) -> Result<(), usize> {
        let mut written = 0;
        while written < text.len() {
            match unistd::write(&self.stream, &text[written..]) {
                Ok(count) => written += count,
                Err(Errno::EINTR) => {}
                // Somebody else, who has the same terminal or pipe, does not want to wait.
                Err(Errno::EAGAIN) => self.wait().map_err(|_| written)?,
                Err(_) => return Err(written),
            }
        }
        Ok(())
    }

    fn wait(&self) -> nix::Result<()> {
        let mut streams = [PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut streams, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::sync::mpsc;

    use super::*;

    /// More than a pipe and the queue hold.
    const LINES: u64 = 200;
    const LINE: usize = 4096;

    fn line() -> Vec<u8> {
        let mut line = vec![b'x'; LINE - 1];
        line.push(b'\n');
        line
    }

    #[test]
    fn nobody_waits_for_a_pipe_that_is_not_read_and_each_line_is_written_or_told() {
        let (reader, writer) = unistd::pipe().unwrap();
        let (losses, told) = mpsc::channel();
        let non_blocking =
            NonBlockingWriter::open("test", writer, move |lines| losses.send(lines).unwrap())
                .unwrap();
        (0..LINES).for_each(|_| non_blocking.enqueue(line()));
        let lost = non_blocking.lost();
        assert!(lost > 0 && lost < LINES, "{lost}");
        assert!(!non_blocking.flush(Instant::now()), "nobody has read");
        let mut rest = vec![0; LINE * usize::try_from(LINES - lost).unwrap()];
        File::from(reader).read_exact(&mut rest).unwrap();
        assert!(rest.chunks(LINE).all(|written| written == line()), "a line is torn");
        let mut sum = 0;
        while sum < lost {
            sum += told.recv().unwrap();
        }
        assert_eq!((sum, non_blocking.lost()), (lost, lost));
    }

    #[test]
    fn a_text_that_is_alone_may_be_longer_than_the_queue() {
        let (reader, writer) = unistd::pipe().unwrap();
        let non_blocking = NonBlockingWriter::open("test", writer, |_| {}).unwrap();
        let text = line().repeat(2 * MAX_QUEUED / LINE);
        non_blocking.enqueue(text.clone());
        let mut read = vec![0; text.len()];
        File::from(reader).read_exact(&mut read).unwrap();
        assert!(read == text && non_blocking.lost() == 0);
    }

    #[test]
    fn what_can_not_be_written_is_counted_by_lines() {
        let (reader, writer) = unistd::pipe().unwrap();
        drop(reader);
        let non_blocking =
            NonBlockingWriter::open("test", writer, |_| panic!("nothing flows")).unwrap();
        non_blocking.enqueue(b"one\ntwo\n".to_vec());
        non_blocking.enqueue(b"three".to_vec());
        assert!(
            non_blocking.flush(Instant::now() + Duration::from_secs(60)),
            "there is nothing to wait for"
        );
        assert_eq!(non_blocking.lost(), 3);
    }
}
