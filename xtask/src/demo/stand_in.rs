//! The smallest HTTP server: what the demo needs of nginx, without TLS.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use netlab::{Netns, header};

/// Two listeners. Dropping it closes them.
pub struct StandIn {
    stopped: Arc<AtomicBool>,
}

impl StandIn {
    /// Serves inside a namespace: `plain` without, `proxied` with a PROXY header before each
    /// request.
    pub fn start(netns: &Netns, plain: u16, proxied: u16) -> Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicU64::new(0));
        for (port, expects_header) in [(plain, false), (proxied, true)] {
            let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            let listener = netns.run(|| TcpListener::bind(address))?;
            listener.set_nonblocking(true)?;
            let (stopped, accepted) = (Arc::clone(&stopped), Arc::clone(&accepted));
            thread::spawn(move || serve(&listener, expects_header, &accepted, &stopped));
        }
        Ok(Self { stopped })
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

fn serve(listener: &TcpListener, header: bool, accepted: &AtomicU64, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, peer)) => {
                let number = accepted.fetch_add(1, Ordering::Relaxed) + 1;
                // A client that leaves early has had what it wanted.
                thread::spawn(move || answer(stream, peer, number, header).ok());
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn answer(
    mut stream: TcpStream,
    peer: SocketAddr,
    number: u64,
    header: bool,
) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
    if let Some(body) = respond(&bytes, peer, number, header) {
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n")?;
        write!(stream, "connection: close\r\n\r\n{body}")?;
    }
    Ok(())
}

/// The answer's body; none where a header is missing or out of place.
fn respond(bytes: &[u8], peer: SocketAddr, number: u64, expects_header: bool) -> Option<String> {
    let decoded = header::decode(bytes);
    if decoded.is_some() != expects_header {
        return None;
    }
    let request = decoded.as_ref().map_or(bytes, |it| it.payload);
    let request = String::from_utf8_lossy(request);
    if request.starts_with("GET /connections ") {
        return Some(format!("{number}\n"));
    }
    let host = request
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("host: ").map(str::to_owned));
    let mut body = format!("host: {}\n", host.unwrap_or_default());
    let _ = writeln!(body, "peer: {}", peer.ip().to_canonical());
    if let Some(client) = decoded.and_then(|it| it.endpoints).map(|it| it.source) {
        let _ = writeln!(body, "client by PROXY header: {} port {}", client.ip(), client.port());
    }
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    #[test]
    fn tells_the_client_that_the_header_names() {
        let bytes = b"PROXY TCP4 192.0.2.1 203.0.113.10 40000 80\r\nGET /headers HTTP/1.1\r\nHost: a\r\n\r\n";
        let body = respond(bytes, PEER, 1, true).unwrap();
        assert_eq!(
            body,
            "host: a\npeer: 127.0.0.1\nclient by PROXY header: 192.0.2.1 port 40000\n"
        );
        assert_eq!(respond(bytes, PEER, 1, false), None);
    }

    #[test]
    fn answers_nobody_who_owes_a_header() {
        let bytes = b"GET /headers HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(respond(bytes, PEER, 1, true), None);
        assert_eq!(respond(bytes, PEER, 7, false).unwrap(), "host: a\npeer: 127.0.0.1\n");
        assert_eq!(respond(b"GET /connections HTTP/1.0\r\n\r\n", PEER, 7, false).unwrap(), "7\n");
    }
}
