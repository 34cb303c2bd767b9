//! A backend in a namespace that records every byte of every connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::{Netns, wait_until};
use nix::sys::socket;

use crate::bytes::text;
use crate::client::{End, PATIENCE, Reply};

/// A read of the backend's gives up after this long; longer than any test waits.
const READ_TIMEOUT: Duration = Duration::from_secs(45);

/// A listening backend. Its connections are numbered from 0, in the order of acceptance.
pub struct Backend {
    address: SocketAddr,
    listener: TcpListener,
    recordings: Arc<Mutex<Vec<Arc<Recording>>>>,
}

impl Backend {
    /// Listens at `address` of `netns`, and serves each connection on a thread of its own. When
    /// `serve` returns, the connection is closed.
    pub fn start(
        netns: &Netns,
        address: SocketAddr,
        serve: impl Fn(&mut Served) + Clone + Send + 'static,
    ) -> Self {
        let listener = netns
            .run(|| TcpListener::bind(address))
            .unwrap_or_else(|error| panic!("cannot listen at {address}: {error}"));
        let recordings = Arc::<Mutex<Vec<_>>>::default();
        let accepting = listener.try_clone().expect("a descriptor can be doubled");
        let list = Arc::clone(&recordings);
        thread::spawn(move || {
            while let Ok((stream, peer)) = accepting.accept() {
                let mut served = Served::new(stream, peer);
                lock(&list).push(Arc::clone(&served.recording));
                let serve = serve.clone();
                thread::spawn(move || serve(&mut served));
            }
        });
        Self { address, listener, recordings }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections have been accepted so far.
    pub fn connections(&self) -> usize {
        lock(&self.recordings).len()
    }

    /// The recording of connection `number`, as soon as there is one.
    pub fn recording(&self, number: usize) -> Arc<Recording> {
        let what = format!("connection {number} at the backend");
        wait_until(PATIENCE, &what, || self.connections() > number).expect("a connection comes");
        Arc::clone(&lock(&self.recordings)[number])
    }

    /// Every byte of connection `number`, once its sender has ended.
    pub fn received(&self, number: usize) -> Vec<u8> {
        self.recording(number).at_end().bytes
    }
}

impl Drop for Backend {
    /// Wakes the accepting thread, and ends what is still open, so that the namespace can go.
    fn drop(&mut self) {
        let _ = socket::shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both);
        for recording in lock(&self.recordings).iter() {
            if let Some(stream) = lock(&recording.stream).as_ref() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

/// What came in on one connection.
pub struct Recording {
    /// Who connected.
    pub peer: SocketAddr,
    bytes: Mutex<Vec<u8>>,
    end: Mutex<Option<End>>,
    /// For the backend's end only; absent once served.
    stream: Mutex<Option<TcpStream>>,
}

impl Recording {
    /// What has come so far.
    pub fn so_far(&self) -> Vec<u8> {
        lock(&self.bytes).clone()
    }

    /// Waits until at least `length` bytes have arrived, and returns all that have.
    pub fn at_least(&self, length: usize) -> Vec<u8> {
        let enough = || lock(&self.bytes).len() >= length;
        wait_until(PATIENCE, &format!("{length} bytes at the backend"), enough)
            .unwrap_or_else(|error| panic!("{error}; came: {:?}", text(&self.so_far())));
        self.so_far()
    }

    /// Waits until the sender has ended, and returns all its bytes and how it ended.
    pub fn at_end(&self) -> Reply {
        let mut end = None;
        let ended = wait_until(PATIENCE, "the sender's end at the backend", || {
            end = *lock(&self.end);
            end.is_some()
        });
        ended.unwrap_or_else(|error| panic!("{error}; came: {:?}", text(&self.so_far())));
        Reply { bytes: self.so_far(), end: end.unwrap_or(End::Silence) }
    }
}

/// A connection as its `serve` function sees it. All that is read is recorded.
pub struct Served {
    stream: TcpStream,
    recording: Arc<Recording>,
}

impl Served {
    fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        let _ = stream.set_nodelay(true);
        stream.set_read_timeout(Some(READ_TIMEOUT)).expect("a time-out above zero is valid");
        let recording = Recording {
            peer,
            bytes: Mutex::default(),
            end: Mutex::default(),
            stream: Mutex::new(stream.try_clone().ok()),
        };
        Self { stream, recording: Arc::new(recording) }
    }

    /// Reads once; `None` at the end.
    pub fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 1 << 16];
        let end = match self.stream.read(&mut buffer) {
            Ok(0) => End::Eof,
            Ok(length) => {
                buffer.truncate(length);
                lock(&self.recording.bytes).extend(&buffer);
                return Some(buffer);
            }
            Err(error) => End::from_error(&error),
        };
        *lock(&self.recording.end) = Some(end);
        None
    }

    /// Reads until the sender ends.
    pub fn read_to_end(&mut self) {
        while self.read().is_some() {}
    }

    /// How the sender has ended; `None` if it has not.
    pub fn end(&self) -> Option<End> {
        *lock(&self.recording.end)
    }

    /// Writes all of it. A sender that is gone is no failure: the recording says how it ended.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Closes our direction (FIN).
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The socket, for backends that read and write from two threads, or reset.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        *lock(&self.recording.stream) = None;
    }
}

/// Serves by reading to the end, and closing.
pub fn swallow(served: &mut Served) {
    served.read_to_end();
}

/// What [`greet`] says.
pub const GREETING: &[u8] = b"220 mail.example.org\r\n";

/// Serves by greeting at once, then reading to the end.
pub fn greet(served: &mut Served) {
    served.send(GREETING);
    served.read_to_end();
}

/// Serves by sending back each byte, and closing at the end.
pub fn echo(served: &mut Served) {
    while let Some(bytes) = served.read() {
        served.send(&bytes);
    }
}

/// Serves by answering the first request with `200 OK` and the body `served\n`.
pub fn http(served: &mut Served) {
    let ends_request = |bytes: &[u8]| bytes.windows(4).any(|four| four == b"\r\n\r\n");
    while served.read().is_some() {
        if ends_request(&lock(&served.recording.bytes)) {
            served
                .send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nserved\n");
            served.finish();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
