//! The whole process stands still for a while (SIGSTOP; a freezer or a paused machine looks the same): what
//! has arrived meanwhile is read before a deadline is judged, and deadlines are put off by as long.

use std::thread::sleep;
use std::time::{Duration, Instant};

use netlab::header::named_headers;
use netlab::{Client, Family, OFF, PATIENCE, REQUIRE, Reply, Scene, echo, join, wait_until};
use nix::sys::signal::Signal;

use crate::FOREWORD;
use crate::config_file::wait_for;
use crate::maps::refused;

/// Longer than the deadlines of a trio.
const PAUSE: Duration = Duration::from_secs(7);
/// Between the end of the pause and what comes then: the deadline has passed by the clock on the wall, and
/// not by that of the process.
const LATER: Duration = Duration::from_secs(1);

/// Stops the process for a time, in which something happens.
fn pause(scene: &Scene, time: Duration, meanwhile: impl FnOnce()) {
    let begin = Instant::now();
    scene.foreword.signal(Signal::SIGSTOP).expect("it runs");
    meanwhile();
    sleep(time.saturating_sub(begin.elapsed()));
    scene.foreword.signal(Signal::SIGCONT).expect("it is stopped");
}

/// Three clients that have begun, by which one has sent the rest in the pause, one sends it after it, and
/// one is silent for ever.
struct Trio {
    meanwhile: Client,
    later: Client,
    never: Client,
}

impl Trio {
    fn begin(begin: impl Fn() -> Client) -> Self {
        Self { meanwhile: begin(), later: begin(), never: begin() }
    }

    /// Two are served, and one is not.
    fn go_through_a_pause(self, scene: &Scene, rest: &[u8], reason: &str) {
        let Self { mut meanwhile, mut later, mut never } = self;
        pause(scene, PAUSE, || meanwhile.send(rest));
        assert_eq!(meanwhile.receive(5), b"hello");
        sleep(LATER);
        later.send(rest);
        assert_eq!(later.receive(5), b"hello");
        assert_eq!(refused(&scene.foreword, reason), 0);
        for client in [meanwhile, later] {
            assert_eq!(client.finish_and_rest(), Reply::ended(b""));
        }
        never.rest().assert_cut("its time is up as well, if later");
        wait_until(PATIENCE, "the count", || refused(&scene.foreword, reason) == 1)
            .expect("it is counted");
        wait_for(&scene.foreword, "the process stood still", 1);
    }
}

#[apply(both_families)]
fn a_pause_puts_header_deadlines_off(family: Family) {
    let flags = "--outbound none --header-timeout 5s";
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, flags], echo);
    let [header, _] = named_headers(family);
    let (begun, rest) = header.split_at(10);
    let trio = Trio::begin(|| {
        let mut client = scene.connect();
        client.send(begun);
        client
    });
    trio.go_through_a_pause(&scene, &join(rest, b"hello"), "header-timeout");
}

#[apply(both_families)]
fn a_pause_puts_idle_deadlines_off(family: Family) {
    let flags = "--outbound none --idle-timeout 5s";
    let scene = FOREWORD.scene_serving(family, &[OFF, flags], echo);
    let trio = Trio::begin(|| {
        let mut client = scene.connect();
        client.send(b"begun");
        assert_eq!(client.receive(5), b"begun");
        client
    });
    trio.go_through_a_pause(&scene, b"hello", "idle-timeout");
}

/// The upstream's answers are lost until the pause is over. The next one comes 15 s after the first.
#[apply(both_families)]
fn a_pause_puts_connect_deadlines_off(family: Family) {
    let flags = "--outbound none --connect-timeout 10s";
    let scene = FOREWORD.scene_serving(family, &[OFF, flags], echo);
    let (option, node) = (family.ip_option(), family.node_back());
    let (route, backend) = (format!("{node}/{}", family.host_prefix()), &scene.lab.backend);
    backend.ip(&format!("{option} route add blackhole {route}")).expect("the route is new");
    let mut client = scene.connect();
    client.send(b"hello");
    // Time for the connection to be begun.
    sleep(Duration::from_secs(1));
    pause(&scene, Duration::from_secs(11), || ());
    backend.ip(&format!("{option} route del blackhole {route}")).expect("it is there");
    assert_eq!(client.receive(5), b"hello");
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    assert_eq!(refused(&scene.foreword, "upstream-timeout"), 0);
}

/// So many that a round does not reach all of them, in another order than that of their deadlines. The
/// process stands still for too short to be a pause, around all deadlines.
#[apply(lab_test)]
fn what_was_sent_in_time_is_read_before_a_deadline_is_judged() {
    const CLIENTS: usize = 600;
    let family = Family::V4;
    let flags = "--outbound none --workers 1 --header-timeout 4s";
    let scene = FOREWORD.scene_serving(family, &[REQUIRE, flags], echo);
    let [_, header] = named_headers(family);
    let begin = Instant::now();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| scene.connect()).collect();
    sleep(Duration::from_millis(3600).saturating_sub(begin.elapsed()));
    scene.foreword.signal(Signal::SIGSTOP).expect("it runs");
    for client in clients.iter_mut().rev() {
        client.offer(&join(&header, b"hello"));
    }
    sleep(Duration::from_millis(4500).saturating_sub(begin.elapsed()));
    scene.foreword.signal(Signal::SIGCONT).expect("it is stopped");
    for client in clients {
        assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
    }
    assert_eq!(refused(&scene.foreword, "header-timeout"), 0);
}
