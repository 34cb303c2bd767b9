//! The HTTP listener. It is exclusive (no `SO_REUSEPORT`), so that no other process answers a probe. A
//! successor gets the listener itself, and no connection is lost.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{Domain, Socket, Type};

use crate::address::AdminAddr;

/// Connections that the kernel queues for us. The SYN of one more is dropped, and sent again a second later.
const BACKLOG: i32 = 1024;

/// Binds and listens.
pub fn bind(address: AdminAddr) -> io::Result<TcpListener> {
    let address = address.get();
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    // Earlier connections in TIME_WAIT are no obstacle; another listener is.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The listener that a predecessor has passed on; `None` if it is another one than was wanted.
pub fn adopt(file: OwnedFd, wanted: SocketAddr) -> Option<TcpListener> {
    let socket = Socket::from(file);
    let listens = socket.is_listener().ok()? && socket.r#type().ok()? == Type::STREAM;
    let is_it = listens && socket.local_addr().ok()?.as_socket() == Some(wanted);
    is_it.then_some(())?;
    socket.set_nonblocking(true).ok()?;
    Some(socket.into())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    fn open() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn nobody_else_can_listen_there() {
        let first = bind(AdminAddr::new("127.0.0.1:0".parse().unwrap())).unwrap();
        let again = bind(AdminAddr::new(first.local_addr().unwrap()));
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        let shared = socket.bind(&first.local_addr().unwrap().into());
        assert_eq!(shared.unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn what_is_passed_on_is_looked_at() {
        let listener = open();
        let address = listener.local_addr().unwrap();
        let passed = || OwnedFd::from(listener.try_clone().unwrap());
        assert!(adopt(passed(), address).is_some());
        assert!(adopt(passed(), open().local_addr().unwrap()).is_none(), "another address");
        let unbound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert!(adopt(unbound.into(), address).is_none(), "nothing listens");
    }
}
