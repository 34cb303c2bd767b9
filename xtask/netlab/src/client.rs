//! A client in a namespace: connects from a chosen address, sends in any split, reads to the end.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use crate::Netns;
use socket2::{Domain, SockRef, Socket, Type};

use crate::bytes::text;

/// No connection of the tests is silent for longer, unless it is meant to be.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long a SYN may stay unanswered; two retransmissions fit in.
const CONNECT_PATIENCE: Duration = Duration::from_secs(4);

/// Long enough for what was sent before to leave as a segment of its own, and to be read.
pub const SEGMENT_GAP: Duration = Duration::from_millis(150);

/// How a direction of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The other side closed its direction (FIN).
    Eof,
    /// The other side reset the connection (RST).
    Reset,
    /// Nothing came for [`PATIENCE`], or as long as was asked for.
    Silence,
}

impl End {
    /// What a failed read says about the connection.
    pub fn from_error(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silence,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Self::Reset,
            _ => panic!("a socket failed in an unexpected way: {error}"),
        }
    }
}

/// All that came from the other side, and how it ended.
#[derive(PartialEq, Eq)]
pub struct Reply {
    /// What came.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub end: End,
}

impl Reply {
    /// What is expected mostly: these bytes, then an orderly end.
    pub fn ended(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), end: End::Eof }
    }

    /// Asserts an end, orderly or not, without a byte before it.
    #[track_caller]
    pub fn assert_cut(&self, what: &str) {
        assert!(self.bytes.is_empty() && self.end != End::Silence, "{what}: {self:?}");
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, then {:?}", text(&self.bytes), self.end)
    }
}

/// An open connection. Each `send` leaves at once (`TCP_NODELAY`).
pub struct Client(TcpStream);

impl Client {
    /// Connects from the address `from` of `netns`, port chosen by the kernel.
    pub fn connect(netns: &Netns, from: IpAddr, to: SocketAddr) -> Self {
        Self::try_connect(netns, from, to)
            .unwrap_or_else(|error| panic!("cannot connect from {from} to {to}: {error}"))
    }

    /// Connects, where a refusal or a time-out is a possible answer.
    pub fn try_connect(netns: &Netns, from: IpAddr, to: SocketAddr) -> io::Result<Self> {
        Self::try_connect_within(netns, from, to, CONNECT_PATIENCE)
    }

    /// [`Client::try_connect`] with another time-out.
    pub fn try_connect_within(
        netns: &Netns,
        from: IpAddr,
        to: SocketAddr,
        patience: Duration,
    ) -> io::Result<Self> {
        Self::open(netns, SocketAddr::new(from, 0), to, patience)
    }

    /// [`Client::connect`] from a given port, which may still be in `TIME_WAIT`.
    pub fn connect_from_port(netns: &Netns, from: SocketAddr, to: SocketAddr) -> Self {
        Self::open(netns, from, to, CONNECT_PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect from {from} to {to}: {error}"))
    }

    fn open(
        netns: &Netns,
        from: SocketAddr,
        to: SocketAddr,
        patience: Duration,
    ) -> io::Result<Self> {
        let stream = netns.run(|| connect_from(from, to, patience))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// The address that the connection comes from.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a connected socket has an address")
    }

    /// Sends all of it, as one segment where it fits into one.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the connection takes what is sent");
    }

    /// Sends to a side that may have closed already.
    pub fn offer(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Sends the pieces one by one, with time for each to be read on its own.
    pub fn send_apart(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.send(piece);
            sleep(SEGMENT_GAP);
        }
    }

    /// Closes our direction (FIN); the other one stays open.
    pub fn finish(&self) {
        self.0.shutdown(Shutdown::Write).expect("an open connection can be half-closed");
    }

    /// Reads exactly `length` bytes.
    pub fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("the bytes come");
        bytes
    }

    /// Reads until the other side ends, or is silent for [`PATIENCE`].
    pub fn rest(&mut self) -> Reply {
        let mut bytes = Vec::new();
        let end = match self.0.read_to_end(&mut bytes) {
            Ok(_) => End::Eof,
            Err(error) => End::from_error(&error),
        };
        Reply { bytes, end }
    }

    /// [`Client::rest`] with another time-out.
    pub fn rest_within(&mut self, patience: Duration) -> Reply {
        self.0.set_read_timeout(Some(patience)).expect("a time-out above zero is valid");
        let rest = self.rest();
        self.0.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero is valid");
        rest
    }

    /// Half-closes and reads until the other side ends.
    pub fn finish_and_rest(mut self) -> Reply {
        self.finish();
        self.rest()
    }

    /// Half-closes what may have been reset already, and reads until the other side ends.
    pub fn rest_after_offer(&mut self) -> Reply {
        let _ = self.0.shutdown(Shutdown::Write);
        self.rest()
    }

    /// Half-closes, and returns whatever comes before the end or the patience is over.
    pub fn rest_after_finish(mut self, patience: Duration) -> Vec<u8> {
        let _ = self.0.shutdown(Shutdown::Write);
        self.rest_within(patience).bytes
    }

    /// Ends the connection by a reset (RST).
    pub fn reset(self) {
        reset_on_close(&self.0);
    }

    /// The socket, for tests that read and write from two threads.
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }
}

/// Makes the close of `stream` a reset.
pub fn reset_on_close(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket can linger");
}

/// Runs inside the namespace.
fn connect_from(from: SocketAddr, to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_reuse_address(from.port() != 0)?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), patience)?;
    Ok(socket.into())
}
