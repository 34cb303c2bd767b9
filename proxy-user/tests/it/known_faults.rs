//! Faults that other relays had, each under the number it was reported by. What brought each of
//! them about is done to Foreword.

use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netlab::{BACKLOG, End, Family, OFF, PATIENCE, Reply, Served, echo, lab_with_a_narrow_client};

use crate::FOREWORD;
use crate::bulk::{MEBIBYTE, assert_same_bulk, noise};

/// Foreword with nothing to read and nothing to write in front of the bytes.
const PLAIN: [&str; 2] = [OFF, "--outbound none"];

/// Long enough for all of [`BACKLOG`] to have come as far as it can.
const SETTLED: Duration = Duration::from_millis(500);

/// `splice(2)` says `EAGAIN` of an empty socket as of a full pipe, and small segments fill a pipe
/// long before its bytes do. Whoever takes the one for the other waits for an edge that does not
/// come: all there will ever be is in the socket, and nobody ends.
#[apply(both_families)]
fn sozu_1323_a_lost_edge(family: Family) {
    let (sent, all_sent) = mpsc::channel();
    let serve = move |served: &mut Served| {
        served.send(&noise(1, BACKLOG));
        let _ = sent.send(());
        served.read_to_end();
    };
    let scene = FOREWORD.scene_in(lab_with_a_narrow_client(), family, &PLAIN, serve);
    let mut client = scene.connect();
    all_sent.recv_timeout(PATIENCE).expect("the node takes what the client does not");
    sleep(SETTLED);
    assert_same_bulk(&client.receive(BACKLOG), &noise(1, BACKLOG));
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    scene.assert_proxied(0);
}

/// With `SPLICE_F_MORE`, the end of each message waits 200 ms for more of it. The bulk has
/// Foreword splice; what comes behind it is as short as a query, and the connection stays open.
#[apply(both_families)]
fn dae_1115_a_stall_of_200_ms(family: Family) {
    const ROUNDS: u32 = 20;
    let scene = FOREWORD.scene_serving(family, &PLAIN, echo);
    let mut client = scene.connect();
    let bulk = noise(2, MEBIBYTE / 4);
    let begin = Instant::now();
    for round in 0..ROUNDS {
        client.send(&bulk);
        assert_same_bulk(&client.receive(bulk.len()), &bulk);
        client.send(&bulk[..100]);
        assert_same_bulk(&client.receive(100), &bulk[..100]);
        assert!(begin.elapsed() < PATIENCE, "{round} rounds in {:?}", begin.elapsed());
    }
    let mean = begin.elapsed() / ROUNDS;
    assert!(mean < Duration::from_millis(150), "a round takes {mean:?}");
    drop(client);
    scene.assert_proxied(0);
}

/// An upstream that has ended while its last bytes could not go on yet: its end must not overtake
/// them, however long they wait in the pipe.
#[apply(both_families)]
fn haproxy_2505_a_truncated_tail(family: Family) {
    let (sent, all_sent) = mpsc::channel();
    let serve = move |served: &mut Served| {
        served.send(&noise(3, BACKLOG));
        served.finish();
        let _ = sent.send(());
        served.read_to_end();
    };
    let scene = FOREWORD.scene_in(lab_with_a_narrow_client(), family, &PLAIN, serve);
    let mut client = scene.connect();
    client.finish();
    all_sent.recv_timeout(PATIENCE).expect("the node takes what the client does not");
    sleep(SETTLED);
    // Some of it, so that the rest is in the pipe for another while.
    let mut received = client.receive(BACKLOG / 2);
    sleep(SETTLED);
    let rest = client.rest();
    received.extend(rest.bytes);
    assert_same_bulk(&received, &noise(3, BACKLOG));
    assert_eq!(rest.end, End::Eof);
    scene.assert_proxied(0);
}

/// The client's FIN must reach the backend while the other direction stays open.
#[apply(both_families)]
fn envoy_2067_a_clients_lost_half_close(family: Family) {
    let answer = noise(3, 3 * MEBIBYTE);
    let to_send = answer.clone();
    let scene = FOREWORD.scene_serving(family, &PLAIN, move |served| {
        served.read_to_end();
        served.send(&to_send);
    });
    let mut client = scene.connect();
    client.send(b"what is it?");
    let reply = client.finish_and_rest();
    assert_same_bulk(&reply.bytes, &answer);
    assert_eq!(reply.end, End::Eof);
    scene.assert_received(0, b"what is it?");
    scene.assert_proxied(0);
}

/// The backend's FIN must reach the client while the other direction stays open.
#[apply(both_families)]
fn envoy_2067_an_upstreams_lost_half_close(family: Family) {
    let scene = FOREWORD.scene_serving(family, &PLAIN, |served| {
        served.send(b"enough said");
        served.finish();
        served.read_to_end();
    });
    let mut client = scene.connect();
    assert_eq!(client.rest(), Reply::ended(b"enough said"));
    let rest = noise(4, 3 * MEBIBYTE);
    client.send(&rest);
    client.finish();
    assert_same_bulk(&scene.backend.received(0), &rest);
    scene.assert_proxied(0);
}
