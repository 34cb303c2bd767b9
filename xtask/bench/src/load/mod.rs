//! The clients: one thread inside the client's namespace, as cheap as possible, so that what is
//! measured is the way to the server.
//!
//! Every connection begins with a header, and what comes back is checked to the byte. A load that
//! meets any error fails as a whole.

mod bulk;
mod dial;
mod idle;
mod ping_pong;
mod short;

pub use bulk::bulk;
pub use idle::idle;
pub use ping_pong::ping_pong;
pub use short::short;

use std::time::Duration;

/// How long anything may take that is not meant to take long.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Load and server without anything in between, and with somebody who spoils it.
#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
    use std::thread;

    use super::*;
    use crate::cpu::Cpus;
    use crate::server::Server;

    const MOMENT: Duration = Duration::from_millis(50);

    fn listener() -> (TcpListener, SocketAddrV4) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        (listener, address)
    }

    fn server() -> (Server, SocketAddrV4) {
        let (listener, address) = listener();
        let cpu = Cpus::choose().map_or(0, |cpus| cpus.load);
        (Server::start(vec![listener], cpu).unwrap(), address)
    }

    /// Listens, answers every connection with `reply`, and closes behind it.
    fn impostor(reply: &'static [u8]) -> SocketAddrV4 {
        let (listener, address) = listener();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(reply);
            }
        });
        address
    }

    #[test]
    fn every_load_gets_what_it_asks_for() {
        let (server, address) = server();
        let bulk = bulk(address, 3, MOMENT).unwrap();
        assert!(bulk.bytes > 3 && bulk.elapsed >= MOMENT);
        assert!(short(address, 5, MOMENT).unwrap().connections >= 5);
        for connections in [1, 7] {
            assert!(ping_pong(address, connections, MOMENT).unwrap().latencies.count() > 0);
        }
        assert_eq!(idle(address, 9).unwrap().len(), 9);
        assert_eq!(server.take_complaint(), None);
    }

    #[test]
    fn the_server_complains_of_a_proxy_that_writes_no_header() {
        let (server, address) = server();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"R and what belongs to it").unwrap();
        // The server closes, and has complained by then.
        assert!(matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_)));
        assert!(server.take_complaint().unwrap().contains("no header"));
        assert_eq!(server.take_complaint(), None);
    }

    #[test]
    fn a_load_fails_if_bytes_are_missing_or_too_many() {
        let error = bulk(impostor(b"\x07\0\0\0\0\0\0\0"), 1, Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("1 bytes were sent, and 7 arrived"), "{error:#}");
        let error = short(impostor(b"too short"), 1, Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("response"), "{error:#}");
        let error = ping_pong(impostor(b"pong"), 1, Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("first message"), "{error:#}");
    }
}
