//! TCP sockets with the options that a transparent proxy needs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd as _};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, TcpFastOpenConnect};
use nix::sys::socket::{MsgFlags, recv, setsockopt};
use rustix::net::{SendFlags, SocketFlags, acceptfrom_with, send};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// The listeners' port. They are alone in the private namespace, so any one will do.
const LISTENER_PORT: u16 = 15001;
/// Connections that wait to be accepted; the kernel caps this at `somaxconn`.
const BACKLOG: i32 = 4096;
/// How long a connection is idle before the kernel probes the peer. The default is two hours.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// One worker's listeners, one for each address family that the kernel has.
#[derive(Debug)]
pub struct Listeners {
    /// Accepts IPv4.
    pub v4: TcpListener,
    /// Accepts IPv6; `None` where the kernel has none.
    pub v6: Option<TcpListener>,
}

impl Listeners {
    /// Opens them in the calling thread's namespace. They are bound to loopback, where nobody else can
    /// reach them, and transparent, so that steered connections keep their original destination. All
    /// workers' listeners join the same reuse-port groups.
    pub fn open() -> io::Result<Self> {
        let v4 = listen((Ipv4Addr::LOCALHOST, LISTENER_PORT).into())?;
        let v6 = match listen((Ipv6Addr::LOCALHOST, LISTENER_PORT).into()) {
            Ok(listener) => Some(listener),
            Err(error) if is_missing_family(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { v4, v6 })
    }
}

/// Opens a listener that accepts connections to any address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
        socket.set_ip_transparent_v6(true)?;
    } else {
        socket.set_ip_transparent_v4(true)?;
    }
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit these. An urgent byte is part of the stream (RFC 6093), but by
    // default the kernel takes it out.
    socket.set_out_of_band_inline(true)?;
    reset_on_close(&socket)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether an error says that the kernel was built or booted without IPv6.
fn is_missing_family(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL])
}

/// Whether an error says that descriptors or memory have run out, so that trying again at once
/// would fail again.
pub fn is_exhaustion(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM])
}

fn is_one_of(error: &io::Error, codes: &[Errno]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&Errno::from_raw(code)))
}

/// Accepts a waiting connection; returns it with its peer.
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    // One system call, where the standard library makes two.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = acceptfrom_with(listener, flags)?;
    let peer = peer.and_then(|peer| peer.try_into().ok());
    Ok((socket.into(), peer.ok_or(io::ErrorKind::AddrNotAvailable)?))
}

/// How a connection to an upstream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectMode {
    /// With an ordinary handshake: the upstream may have to speak first.
    Plain,
    /// Data follows the handshake at once, so the acknowledgement of the SYN-ACK is delayed and
    /// travels with it.
    DelayAck,
    /// With data in the SYN, where the upstream's kernel has agreed to that before (TCP Fast Open,
    /// RFC 7413).
    FastOpen,
}

/// A socket to connect to an upstream with, marked if steering has to recognise it. Like an accepted
/// socket, it resets its connection when it is closed, until [`end_on_close`].
pub fn upstream(to: SocketAddr, mark: Option<u32>, mode: ConnectMode) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
    reset_on_close(&socket)?;
    socket.set_out_of_band_inline(true)?;
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    match mode {
        ConnectMode::Plain => {}
        // Only the first acknowledgement is delayed; the kernel returns to quick ones by itself.
        ConnectMode::DelayAck => socket.set_tcp_quickack(false)?,
        ConnectMode::FastOpen => setsockopt(&socket, TcpFastOpenConnect, &true)?,
    }
    Ok(socket)
}

/// Writes the last bytes before the end of data. They wait for it, to leave in one packet with the
/// FIN.
pub fn send_before_end(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
}

/// Sends small writes at once, whatever is still unacknowledged (`TCP_NODELAY`). Accepted sockets
/// inherit this from their listener.
pub fn send_at_once(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_nodelay(true)
}

/// An [`upstream`] socket that connects from one of this node's addresses, at any port.
pub fn upstream_at(
    from: IpAddr,
    to: SocketAddr,
    mark: Option<u32>,
    mode: ConnectMode,
) -> io::Result<Socket> {
    let socket = upstream(to, mark, mode)?;
    // The kernel chooses the port at connect, when it knows which the four-tuple leaves free.
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    Ok(socket)
}

/// Whether this node has an address to connect from. If it has, a connect that fails for want of a
/// local address has run out of ports.
pub fn has_source(to: SocketAddr) -> bool {
    let open = || -> io::Result<()> {
        let probe = Socket::new(Domain::for_address(to), Type::DGRAM, None)?;
        // Sends nothing.
        probe.connect(&to.into())
    };
    !matches!(open(), Err(error) if is_one_of(&error, &[Errno::EADDRNOTAVAIL]))
}

/// An [`upstream`] socket with somebody else's address. It is made in the calling thread's namespace,
/// which must deliver that address locally.
pub fn upstream_from(from: SocketAddr, to: SocketAddr, mode: ConnectMode) -> io::Result<Socket> {
    let socket = upstream(to, None, mode)?;
    if from.is_ipv6() {
        socket.set_ip_transparent_v6(true)?;
    } else {
        socket.set_ip_transparent_v4(true)?;
    }
    // Several connections of one client may go to different upstreams from one port.
    socket.set_reuse_address(true)?;
    if from.port() == 0 {
        // The kernel chooses the port at connect, when it knows which the four-tuple leaves free.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
    }
    socket.bind(&from.into())?;
    Ok(socket)
}

/// Begins to connect. The first write tells whether that has succeeded.
pub fn connect(socket: Socket, to: SocketAddr) -> io::Result<TcpStream> {
    match socket.connect(&to.into()) {
        Err(error) if !is_in_progress(&error) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// Whether an error says that a connection is still being established.
pub fn is_in_progress(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::EINPROGRESS])
}

/// Has the kernel probe an idle peer (`SO_KEEPALIVE`). Accepted sockets inherit this from their
/// listener.
pub fn keep_alive(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE))
}

/// Whether an error says that a port is in use, so that another one might do.
pub fn is_port_taken(error: &io::Error) -> bool {
    is_one_of(error, &[Errno::EADDRINUSE, Errno::EADDRNOTAVAIL])
}

/// Makes the close a reset, even if it is the kernel that closes a dead process's sockets: the peer
/// learns that the connection was cut.
fn reset_on_close(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_linger(Some(Duration::ZERO))
}

/// Makes the close an orderly one: the kernel keeps sending what was written, and then the FIN.
pub fn end_on_close(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_linger(None)
}

/// Copies the next bytes of a socket and leaves them there; 0 is the end of data.
pub fn peek(socket: &impl AsFd, bytes: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_PEEK)?)
}
