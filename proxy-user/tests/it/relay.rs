//! The relay: no byte lost or doubled, every end passed on as what it is, no sender outrun.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use netlab::header::{named_client, named_destination, named_headers, v1};
use netlab::{
    Backend, Client, End, Family, Lab, OFF, PATIENCE, PORT, REQUIRE, Reply, Scene, Served, echo,
    join, lab, reset_on_close, swallow, wait_until,
};
use socket2::SockRef;

use crate::FOREWORD;
use crate::bulk::{MEBIBYTE, assert_same_bulk, noise};
use crate::maps::refused;

/// Foreword with nothing to read and nothing to write in front of the bytes. Each test asserts in
/// its end that they came from the node, so that none can pass without a relay.
fn relayed(family: Family, serve: impl Fn(&mut Served) + Clone + Send + 'static) -> Scene {
    FOREWORD.scene_serving(family, &[OFF, "--outbound none"], serve)
}

/// Sends and reads at the same time, half-closing after the last byte; returns what was read.
fn exchange(stream: &TcpStream, send: &[u8]) -> Vec<u8> {
    let mut received = Vec::with_capacity(send.len());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = stream;
            writer.write_all(send).expect("the whole stream is taken");
            writer.shutdown(Shutdown::Write).expect("an open connection can be half-closed");
        });
        let mut reader = stream;
        reader.read_to_end(&mut received).expect("the stream ends in order");
    });
    received
}

/// 16 MiB in each direction, each ended by a half-close of its own.
#[apply(both_families)]
fn bulk_goes_both_ways_at_once(family: Family) {
    let (up, down) = (noise(1, 16 * MEBIBYTE), noise(2, 16 * MEBIBYTE));
    let (answer, received) = (down.clone(), Arc::new(Mutex::new(Vec::new())));
    let record = Arc::clone(&received);
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, "--outbound v1"], move |served| {
        let bytes = exchange(served.stream(), &answer);
        *record.lock().expect("no thread panics with it") = bytes;
        served.read_to_end();
    });
    let [_, inbound] = named_headers(family);
    let mut client = scene.connect();
    client.send(&inbound);
    assert_same_bulk(&exchange(client.stream(), &up), &down);
    scene.backend.recording(0).at_end();
    let header = v1(named_client(family), named_destination(family));
    assert_same_bulk(&received.lock().expect("no thread panics with it"), &join(&header, &up));
}

/// All of them open before the first one ends, each with bytes of its own.
#[apply(both_families)]
fn two_hundred_connections_are_served_at_once(family: Family) {
    const CONNECTIONS: usize = 200;
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, "--outbound none"], echo);
    let [line, block] = named_headers(family);
    let mut open: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let mut client = scene.connect();
            let payload = noise(number as u64 + 1, 4096);
            client.send(&join(if number % 2 == 0 { &line } else { &block }, &payload));
            (client, payload)
        })
        .collect();
    for (client, payload) in &mut open {
        assert_same_bulk(&client.receive(payload.len()), payload);
    }
    assert_eq!(scene.backend.connections(), CONNECTIONS);
    for (client, _) in &mut open {
        client.send(b"still here?");
        assert_eq!(client.receive(11), b"still here?");
    }
    for (client, _) in open {
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    }
}

/// The client hears of it within a second, and the next connection is served as ever.
#[apply(both_families)]
fn a_refused_upstream_closes_the_client(family: Family) {
    let lab = lab();
    let mut foreword =
        FOREWORD.attach(&lab.node, &format!("eth0 --port {PORT},81 {REQUIRE} --outbound none"));
    let [_, header] = named_headers(family);
    let mut client = Client::connect(&lab.client, family.lb(), (family.vip(), 81).into());
    let begin = Instant::now();
    client.send(&join(&header, b"is anybody there?"));
    client.rest().assert_cut("a client without upstream");
    assert!(begin.elapsed() < Duration::from_secs(1), "closed after {:?}", begin.elapsed());

    assert!(foreword.is_running(), "{}", foreword.output());
    let backend = Backend::start(&lab.backend, SocketAddr::new(family.vip(), PORT), echo);
    let mut client = Client::connect(&lab.client, family.lb(), backend.address());
    client.send(&join(&header, b"hello"));
    assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
}

/// An upstream whose answers are lost on their way: given up after 5 s.
#[apply(both_families)]
fn a_silent_upstream_is_given_up(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, "--outbound none"], echo);
    let (option, node) = (family.ip_option(), family.node_back());
    let lost = format!("{option} route add blackhole {node}/{}", family.host_prefix());
    scene.lab.backend.ip(&lost).expect("the route is new");
    let [_, header] = named_headers(family);
    let mut client = scene.connect();
    let begin = Instant::now();
    client.send(&join(&header, b"is anybody there?"));
    client.rest().assert_cut("a client without upstream");
    let after = begin.elapsed().as_secs_f32();
    assert!((4.5..7.0).contains(&after), "closed after {after:.1} s");
}

/// Its place is free at once, and the request does not come seconds later.
#[apply(both_families)]
fn a_client_that_is_gone_before_its_upstream_answers_delivers_nothing(family: Family) {
    const CLIENTS: usize = 20;
    let scene = FOREWORD.scene(family, &[REQUIRE, "--outbound none --connect-timeout 30s"]);
    let (option, node) = (family.ip_option(), family.node_back());
    let route = format!("blackhole {node}/{}", family.host_prefix());
    scene.lab.backend.ip(&format!("{option} route add {route}")).expect("the route is new");
    let [_, header] = named_headers(family);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = scene.connect();
            client.send(&join(&header, b"is anybody there?"));
            client
        })
        .collect();
    // Time for the headers to be read, and the connections to be begun.
    sleep(Duration::from_secs(1));
    clients.into_iter().for_each(Client::reset);
    let given_up = || refused(&scene.foreword, "client-reset") == CLIENTS as u64;
    wait_until(PATIENCE, "the ends", given_up).expect("each is given up");
    scene.lab.backend.ip(&format!("{option} route del {route}")).expect("the route is there");
    sleep(Duration::from_secs(3));
    scene.assert_no_upstream();
}

/// In the summary at the end of a run.
#[apply(both_families)]
fn the_bytes_of_a_cut_connection_are_counted(family: Family) {
    let flags = [OFF, "--outbound none", "--drain-timeout 100ms"];
    let mut scene = FOREWORD.scene_serving(family, &flags, echo);
    let mut client = scene.connect();
    client.send(&[b'x'; 12_345]);
    client.receive(12_345);
    scene.foreword.terminate().expect("it ends");
    let said = scene.foreword.output();
    assert!(said.contains("bytes_in=12345 bytes_out=12345"), "{said}");
    scene.assert_proxied(0);
}

#[apply(both_families)]
fn a_clients_reset_reaches_the_upstream(family: Family) {
    let scene = relayed(family, echo);
    let mut client = scene.connect();
    client.send(b"hello");
    assert_eq!(client.receive(5), b"hello");
    client.reset();
    let expected = Reply { bytes: b"hello".to_vec(), end: End::Reset };
    assert_eq!(scene.backend.recording(0).at_end(), expected);
    scene.assert_proxied(0);
}

#[apply(both_families)]
fn an_upstreams_reset_reaches_the_client(family: Family) {
    let scene = relayed(family, |served| {
        served.read();
        reset_on_close(served.stream());
    });
    let mut client = scene.connect();
    client.send(b"hello");
    assert_eq!(client.rest(), Reply { bytes: vec![], end: End::Reset });
    scene.assert_proxied(0);
}

/// A lab whose sockets hold 1 MiB at most in each direction.
fn lab_with_small_buffers() -> Lab {
    let lab = lab();
    for netns in [&lab.client, &lab.node, &lab.backend] {
        for key in ["net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem"] {
            netns.sysctl(key, "4096 131072 1048576").expect("root may set it");
        }
    }
    lab
}

/// Several times more than the four sockets on the way can hold.
const MORE_THAN_BUFFERS: usize = 12 * MEBIBYTE;

/// A sender counts as held back when it has not got on for this long.
const STALL: Duration = Duration::from_millis(300);

/// Writes `bytes` until a write stalls, and returns how many went; panics if none stalls.
fn write_until_stalled(mut stream: &TcpStream, bytes: &[u8]) -> usize {
    stream.set_write_timeout(Some(STALL)).expect("a time-out above zero is valid");
    let mut written = 0;
    while let Ok(length) = stream.write(&bytes[written..]) {
        written += length;
        assert!(written < bytes.len(), "{written} bytes went to a peer that reads nothing");
    }
    stream.set_write_timeout(None).expect("none is valid");
    written
}

/// A backend that reads nothing must stop the client, and gets every byte once it reads.
#[apply(both_families)]
fn a_slow_backend_slows_the_client(family: Family) {
    let lab = lab_with_small_buffers();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let serve = move |served: &mut Served| {
        let _ = gate.lock().map(|gate| gate.recv());
        swallow(served);
    };
    let scene = FOREWORD.scene_in(lab, family, &[OFF, "--outbound none"], serve);
    let bytes = noise(5, MORE_THAN_BUFFERS);
    let mut client = scene.connect();
    let written = write_until_stalled(client.stream(), &bytes);
    go.send(()).expect("the backend waits for it");
    client.send(&bytes[written..]);
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    assert_same_bulk(&scene.backend.received(0), &bytes);
    scene.assert_proxied(0);
}

/// A client that reads slowly, in turn.
#[apply(both_families)]
fn a_slow_client_slows_the_backend(family: Family) {
    let lab = lab_with_small_buffers();
    let (report, stalled) = mpsc::channel();
    let serve = move |served: &mut Served| {
        let bytes = noise(6, MORE_THAN_BUFFERS);
        let written = write_until_stalled(served.stream(), &bytes);
        let _ = report.send(written);
        served.send(&bytes[written..]);
    };
    let scene = FOREWORD.scene_in(lab, family, &[OFF, "--outbound none"], serve);
    let mut client = scene.connect();
    let written = stalled.recv_timeout(Duration::from_secs(30)).expect("the backend is held back");
    assert!(written < MORE_THAN_BUFFERS);
    sleep(STALL);
    let reply = client.rest();
    assert_same_bulk(&reply.bytes, &noise(6, MORE_THAN_BUFFERS));
    assert_eq!(reply.end, End::Eof);
    scene.assert_proxied(0);
}

/// A backend that acknowledges late, as most do in a conversation, would hold up every second one
/// of a client's small writes for 40 ms.
#[apply(both_families)]
fn a_small_write_does_not_wait_for_an_acknowledgement(family: Family) {
    const ROUNDS: usize = 5;
    const APART: Duration = Duration::from_millis(5);
    const LATE: Duration = Duration::from_millis(20);
    let (arrived, arrivals) = mpsc::channel();
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, "--outbound v2"], move |served| {
        loop {
            SockRef::from(served.stream()).set_tcp_quickack(false).expect("it is open");
            let Some(bytes) = served.read() else { break };
            let _ = arrived.send((Instant::now(), bytes.len()));
        }
    });
    let [_, header] = named_headers(family);
    let mut client = scene.connect();
    client.send(&header);
    arrivals.recv().expect("the header arrives");
    let mut delays: Vec<_> = (0..ROUNDS)
        .map(|_| {
            client.send(b"one");
            sleep(APART);
            let sent = Instant::now();
            client.send(b"two");
            let mut rest = 6;
            loop {
                let (arrival, length) = arrivals.recv().expect("it arrives");
                rest -= length;
                if rest == 0 {
                    return arrival.saturating_duration_since(sent);
                }
            }
        })
        .collect();
    delays.sort();
    assert!(delays[ROUNDS / 2] < LATE, "{delays:?}");
    drop(client);
    scene.assert_proxied(0);
}
