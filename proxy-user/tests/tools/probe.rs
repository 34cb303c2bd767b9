//! What is said of servers whose configuration is known.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::servers::{Listener, Server};
use crate::{Run, foreword};

const HEADERS: [&str; 3] = ["v1", "v2", "local"];

fn probe(address: SocketAddr, more: &[&str]) -> Run {
    let address = address.to_string();
    let arguments = [&["probe", &address, "--timeout", "500ms"], more].concat();
    let run = foreword(&arguments, b"");
    assert_eq!(run.stderr, "", "{}", run.stdout);
    run
}

fn verdict(run: &Run) -> &str {
    run.stdout.lines().last().unwrap_or_default()
}

/// A line of the account, found by its name.
fn line<'a>(run: &'a Run, name: &str) -> &'a str {
    let found = run
        .stdout
        .lines()
        .find_map(|line| line.split_at_checked(20).filter(|(head, _)| head.trim_end() == name));
    found.unwrap_or_else(|| panic!("no line {name}: {}", run.stdout)).1
}

/// Every listener with every header: a header is required where it is read, else rejected.
fn verdicts_of(server: fn(Listener) -> Server) {
    for listener in Listener::ALL {
        let server = server(listener);
        for header in HEADERS {
            let tls = if listener.tls { &["--tls"][..] } else { &[] };
            let run = probe(server.address, &[&["--send", header], tls].concat());
            let expected = if listener.reads_headers { "requires" } else { "rejects" };
            let word = format!("verdict: {expected}");
            assert_eq!(
                (verdict(&run), run.code),
                (word.as_str(), 0),
                "{listener:?} {header}: {}\n{}",
                run.stdout,
                server.log()
            );
        }
    }
}

#[test]
fn haproxy() {
    verdicts_of(Server::haproxy);
}

#[test]
fn nginx() {
    verdicts_of(Server::nginx);
}

/// The account behind a verdict, connection by connection.
#[test]
fn the_account_of_nginx_with_headers() {
    let server = Server::nginx(Listener { reads_headers: true, tls: false });
    let run = probe(server.address, &["--send", "v1"]);
    let head =
        format!("{} as seen from 127.0.0.1, other sources may differ; header v1", server.address);
    assert_eq!(run.stdout.lines().next(), Some(head.as_str()));
    assert_eq!(line(&run, "nothing sent"), "no reply, left open");
    assert!(line(&run, "request").starts_with("no reply, "), "{}", run.stdout);
    let page = line(&run, "header, request");
    assert!(page.starts_with(r#""HTTP/1.1 200 OK", "#), "{}", run.stdout);
    assert_eq!(line(&run, "header"), "no reply, left open");
    assert!(line(&run, "malformed, request").starts_with("no reply, "), "{}", run.stdout);
    assert_eq!(line(&run, "so"), "HTTP 200 behind a header, no reply without one");
    assert!(
        server.log().contains("broken header: \"PROXY TCP9 127.0.0.1 127.0.0.1"),
        "{}",
        server.log()
    );
}

/// nginx answers what is no TLS on a TLS port in HTTP.
#[test]
fn the_account_of_nginx_with_tls() {
    let server = Server::nginx(Listener { reads_headers: false, tls: true });
    let run = probe(server.address, &["--tls"]);
    assert!(line(&run, "request").starts_with("a TLS handshake, "), "{}", run.stdout);
    let page = line(&run, "header, request");
    assert!(page.starts_with(r#""HTTP/1.1 400 Bad Request", "#), "{}", run.stdout);
}

/// Plain HTTP to a TLS port is a question that shows nothing.
#[test]
fn the_wrong_question_gets_no_verdict() {
    let server = Server::nginx(Listener { reads_headers: false, tls: true });
    let run = probe(server.address, &[]);
    assert_eq!(run.code, 1);
    let expected = "verdict: unclear (HTTP 400 without a header, HTTP 400 behind one; choose a \
                    request that it answers (--request, --tls))";
    assert_eq!(verdict(&run), expected);
}

/// A server of ours: `serve` gets each connection, on a thread of its own.
fn serving(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

/// Reads one chunk; none at the end, or if nothing comes for long.
fn chunk(mut stream: &TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut bytes = vec![0; 4096];
    let count = stream.read(&mut bytes).unwrap_or(0);
    bytes.truncate(count);
    bytes
}

/// A server that reads no header can't be told from one that reads any.
#[test]
fn a_server_that_answers_anything() {
    let address = serving(|mut stream| {
        if !chunk(&stream).is_empty() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        }
    });
    let run = probe(address, &[]);
    assert_eq!((verdict(&run), run.code), ("verdict: ignores-or-accepts", 0), "{}", run.stdout);
    assert!(line(&run, "so").contains("it may take headers for payload"), "{}", run.stdout);
}

/// Headers are optional: read where there is one, and an error where it is malformed.
#[test]
fn a_server_that_takes_both() {
    let address = serving(|mut stream| {
        let bytes = chunk(&stream);
        let text = String::from_utf8_lossy(&bytes);
        let is_header = text.starts_with("PROXY TCP4 ") && text.contains("GET /");
        let status = if is_header || text.starts_with("GET /") { 200 } else { 400 };
        let _ = stream.write_all(format!("HTTP/1.1 {status} X\r\n\r\n").as_bytes());
    });
    let run = probe(address, &["--send", "v1"]);
    assert_eq!((verdict(&run), run.code), ("verdict: accepts", 0), "{}", run.stdout);
    let run = probe(address, &["--send", "v2"]);
    assert_eq!((verdict(&run), run.code), ("verdict: rejects", 0), "{}", run.stdout);
}

/// A mail server greets first, and complains of a header as of any command.
#[test]
fn a_server_that_speaks_first() {
    let address = serving(|mut stream| {
        let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n");
        while !chunk(&stream).is_empty() {
            let _ = stream.write_all(b"502 what?\r\n");
        }
    });
    let run = probe(address, &[]);
    assert_eq!((verdict(&run), run.code), ("verdict: rejects", 0), "{}", run.stdout);
    let greeting = r#""220 mail.example.org ESMTP", 28 bytes in all, then left open"#;
    assert_eq!(line(&run, "nothing sent"), greeting);
}

/// Another that waits for the header before it greets, as pp01 wants it.
#[test]
fn a_server_that_speaks_first_behind_a_header() {
    let address = serving(|mut stream| {
        if chunk(&stream).starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21") {
            let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n");
            chunk(&stream);
        }
    });
    let run = probe(address, &[]);
    assert_eq!((verdict(&run), run.code), ("verdict: requires", 0), "{}", run.stdout);
    assert!(line(&run, "header").starts_with(r#""220 mail"#), "{}", run.stdout);
}

/// A request of the user's reaches the server as it is meant.
#[test]
fn another_protocol() {
    let address = serving(|mut stream| {
        let reply = match chunk(&stream).as_slice() {
            b"PING\r\n" => &b"+PONG\r\n"[..],
            _ => b"-ERR unknown command\r\n",
        };
        let _ = stream.write_all(reply);
    });
    let run = probe(address, &["--request", r"PING\r\n"]);
    assert_eq!((verdict(&run), run.code), ("verdict: rejects", 0), "{}", run.stdout);
    assert!(line(&run, "so").starts_with(r#""+PONG" without a header, "-ERR" behind one"#));
}

#[test]
fn nobody_there() {
    // Bound and not listening: nobody else takes the port meanwhile.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let run = probe(address, &[]);
    assert_eq!(run.code, 1);
    let expected = format!("verdict: unclear (cannot connect to {address}: Connection refused");
    assert!(verdict(&run).starts_with(&expected), "{}", run.stdout);
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for (arguments, message) in [
        (&["probe", "localhost"][..], "error: HOST:PORT 'localhost' is not valid; "),
        (&["probe", "localhost:80", "--send", "v3"], "error: --send 'v3' is not valid; "),
        (&["probe", "localhost:80", "--timeout", "2"], "error: --timeout '2' is not valid; "),
        (&["probe", "localhost:80", "--timeout", "0s"], "error: --timeout '0s' is not valid; "),
        (&["probe", "localhost:80", "--request", r"\q"], r"error: --request '\\q' is not valid; "),
        (&["probe", "localhost:80", "--request", "x", "--tls"], "error: "),
    ] {
        let run = foreword(arguments, b"");
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(run.stderr.starts_with(message), "{}", run.stderr);
    }
}
