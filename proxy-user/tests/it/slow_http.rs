//! Clients of the metrics address that are slow, or silent, or do not read: probes are answered all
//! the same.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use netlab::{Lab, PATIENCE, PORT, lab};
use socket2::{Domain, Socket, Type};

use crate::admin::Run;
use crate::config_file::rule;

const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9478);
/// More than there are places, and the sources that they come from where these are many.
const CONNECTIONS: u8 = 100;
/// What a probe of Kubernetes' waits for, unless it is told otherwise.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Connections from addresses of the node's own: 127.0.0.1, or one each.
fn connect(lab: &Lab, are_many: bool, rounds: u8) -> Vec<TcpStream> {
    lab.node.run(|| {
        let connect = |number: u8| {
            let from = if are_many { [127, 0, 1, number] } else { [127, 0, 0, 1] };
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            socket.bind(&SocketAddr::from((from, 0)).into()).expect("it is the node's own");
            socket.connect(&HTTP.into()).expect("somebody listens");
            TcpStream::from(socket)
        };
        (0..rounds).flat_map(|_| (0..CONNECTIONS).map(connect)).collect()
    })
}

/// Probes as kubelet makes them, each with a connection of its own from 127.0.0.1. All are answered;
/// one or two may be late, on a machine that is busy with other tests.
fn assert_probed(lab: &Lab, pause: Duration) {
    let paths = ["/healthz", "/readyz", "/metrics"].iter().cycle().take(9);
    let mut times: Vec<_> = paths
        .map(|path| {
            sleep(pause);
            probe(lab, path)
        })
        .collect();
    times.sort_unstable();
    assert!(times[times.len() / 2] < AT_ONCE, "{times:?}");
}

/// How long an answer takes.
fn probe(lab: &Lab, path: &str) -> Duration {
    let begun = Instant::now();
    let mut stream = lab.node.run(|| TcpStream::connect(HTTP)).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is above 0");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is read");
    let mut answer = [0; 15];
    let read = stream.read_exact(&mut answer);
    read.unwrap_or_else(|error| panic!("{path}: {error} after {:?}", begun.elapsed()));
    assert_eq!(&answer, b"HTTP/1.1 200 OK", "{path}");
    begun.elapsed()
}

fn start(lab: &Lab) -> Run {
    Run::start(lab, rule(PORT, "none"))
}

#[apply(lab_test)]
fn silent_connections_delay_no_probe() {
    let lab = lab();
    let _run = start(&lab);
    for are_many in [false, true] {
        let silent = connect(&lab, are_many, 10);
        assert_probed(&lab, Duration::ZERO);
        // Whoever loses a place is told so.
        let is_closed = |stream: &&TcpStream| {
            stream.set_nonblocking(true).expect("a socket of ours");
            !matches!((&**stream).read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        };
        let closed = silent.iter().filter(is_closed).count();
        assert!(closed >= silent.len() - 100, "{closed} of {}", silent.len());
    }
}

/// A byte of a request at a time, and new connections for those that are closed meanwhile.
#[apply(lab_test)]
fn slow_requests_delay_no_probe() {
    let lab = lab();
    let _run = start(&lab);
    let is_over = AtomicBool::new(false);
    scope(|scope| {
        for are_many in [false, true] {
            let (lab, is_over) = (&lab, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let slow = connect(lab, are_many, 1);
                    for byte in b"GET /healthz" {
                        for mut stream in &slow {
                            let _ = stream.write(&[*byte]);
                        }
                        sleep(Duration::from_millis(20));
                    }
                }
            });
        }
        let probed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_probed(&lab, Duration::from_millis(200));
        }));
        is_over.store(true, Ordering::Relaxed);
        probed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[apply(lab_test)]
fn answers_that_nobody_reads_delay_no_probe() {
    let lab = lab();
    let _run = start(&lab);
    for are_many in [false, true] {
        let mut unread = connect(&lab, are_many, 10);
        for stream in &mut unread {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
        }
        assert_probed(&lab, Duration::ZERO);
    }
}
