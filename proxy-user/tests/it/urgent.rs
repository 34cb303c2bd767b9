//! Urgent data (`MSG_OOB`; telnet, rlogin and FTP's ABOR use it). It is passed on as what it is on
//! the wire, a byte of the stream like any other, as RFC 6093 advises. The kernel ends each read at
//! its mark, and lets no splice pass it: whoever takes that for the end of what is there stalls, or
//! loses the rest.

use std::net::TcpStream;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::Duration;

use netlab::header::named_headers;
use netlab::{
    BACKLOG, End, Family, OFF, PATIENCE, REQUIRE, Reply, Scene, Served, echo,
    lab_with_a_narrow_client,
};
use nix::sys::signal::Signal;
use socket2::SockRef;

use crate::FOREWORD;
use crate::bulk::{assert_same_bulk, noise};

/// Foreword with nothing to read and nothing to write in front of the bytes.
const PLAIN: [&str; 2] = [OFF, "--outbound none"];

/// Long enough for what was sent to have come as far as it can.
const SETTLED: Duration = Duration::from_millis(300);

/// Marks the last of these bytes as urgent.
fn send_urgent(stream: &TcpStream, bytes: &[u8]) {
    let sent = SockRef::from(stream).send_out_of_band(bytes).expect("urgent data can be sent");
    assert_eq!(sent, bytes.len());
}

/// While Foreword reads nothing, so that all of it is there at once.
fn while_stopped(scene: &Scene, send: impl FnOnce()) {
    scene.foreword.signal(Signal::SIGSTOP).expect("it runs");
    send();
    sleep(SETTLED);
    scene.foreword.signal(Signal::SIGCONT).expect("it is there");
}

#[apply(both_families)]
fn an_urgent_byte_of_the_clients_arrives_in_its_place(family: Family) {
    let scene = FOREWORD.scene_serving(family, &PLAIN, echo);
    let mut client = scene.connect();
    client.send(b"<");
    assert_eq!(client.receive(1), b"<");
    while_stopped(&scene, || {
        send_urgent(client.stream(), b"before!");
        client.send(b"behind");
    });
    // The connection stays open: nothing else will have Foreword look again.
    assert_eq!(client.receive(13), b"before!behind");
    client.send(b">");
    assert_eq!(client.finish_and_rest(), Reply::ended(b">"));
    scene.assert_received(0, b"<before!behind>");
    scene.assert_proxied(0);
}

#[apply(both_families)]
fn an_urgent_byte_of_the_upstreams_arrives_in_its_place(family: Family) {
    let scene = FOREWORD.scene_serving(family, &PLAIN, |served| {
        served.read();
        sleep(SETTLED);
        send_urgent(served.stream(), b"before!");
        served.send(b"behind");
        served.read_to_end();
    });
    let mut client = scene.connect();
    client.send(b"<");
    scene.backend.recording(0).at_least(1);
    while_stopped(&scene, || sleep(SETTLED));
    assert_eq!(client.receive(13), b"before!behind");
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_proxied(0);
}

/// A short read of a side that has ended is its last, unless a mark has cut it short.
#[apply(both_families)]
fn an_urgent_byte_before_the_end_hides_nothing(family: Family) {
    let scene = FOREWORD.scene_serving(family, &PLAIN, echo);
    let mut client = scene.connect();
    client.send(b"<");
    assert_eq!(client.receive(1), b"<");
    while_stopped(&scene, || {
        send_urgent(client.stream(), b"before!");
        client.send(b"behind");
        client.finish();
    });
    assert_eq!(client.rest(), Reply::ended(b"before!behind"));
    scene.assert_received(0, b"<before!behind");
    scene.assert_proxied(0);
}

/// Sends [`BACKLOG`] with an urgent byte in its middle, towards a client that does not read yet.
fn send_marked(served: &mut Served) {
    let bulk = noise(5, BACKLOG);
    let (before, behind) = bulk.split_at(BACKLOG / 2);
    served.send(&before[..before.len() - 1]);
    send_urgent(served.stream(), &before[before.len() - 1..]);
    served.send(behind);
}

#[apply(both_families)]
fn an_urgent_byte_in_a_splice_does_not_stall_it(family: Family) {
    let (sent, all_sent) = mpsc::channel();
    let serve = move |served: &mut Served| {
        send_marked(served);
        let _ = sent.send(());
        served.read_to_end();
    };
    let scene = FOREWORD.scene_in(lab_with_a_narrow_client(), family, &PLAIN, serve);
    let mut client = scene.connect();
    all_sent.recv_timeout(PATIENCE).expect("the node takes what the client does not");
    sleep(SETTLED);
    assert_same_bulk(&client.receive(BACKLOG), &noise(5, BACKLOG));
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_proxied(0);
}

#[apply(both_families)]
fn an_urgent_byte_in_a_splice_hides_nothing_before_the_end(family: Family) {
    let (sent, all_sent) = mpsc::channel();
    let serve = move |served: &mut Served| {
        send_marked(served);
        served.finish();
        let _ = sent.send(());
        served.read_to_end();
    };
    let scene = FOREWORD.scene_in(lab_with_a_narrow_client(), family, &PLAIN, serve);
    let mut client = scene.connect();
    all_sent.recv_timeout(PATIENCE).expect("the node takes what the client does not");
    sleep(SETTLED);
    let rest = client.rest();
    assert_same_bulk(&rest.bytes, &noise(5, BACKLOG));
    assert_eq!(rest.end, End::Eof);
    client.finish();
    scene.assert_proxied(0);
}

/// A mark within the header, and one right behind it.
#[apply(both_families)]
fn an_urgent_byte_in_the_beginning_is_payload(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, "--outbound none"], echo);
    let [_, header] = named_headers(family);
    let mut client = scene.connect();
    while_stopped(&scene, || {
        send_urgent(client.stream(), &header[..13]);
        send_urgent(client.stream(), &header[13..]);
        client.send(b"payload");
    });
    assert_eq!(client.receive(7), b"payload");
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_received(0, b"payload");
}
