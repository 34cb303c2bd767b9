//! A process that is gone from one moment to the next: what it was in the middle of ends in a reset
//! on both sides, so that nobody takes half of something for all of it.

use std::io::Write as _;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use netlab::{Client, End, Family, OFF, PATIENCE, Reply, Scene, Served, wait_until};
use nix::sys::signal::Signal;

use crate::FOREWORD;
use crate::bulk::{MEBIBYTE, assert_same_bulk, noise};
use crate::probe::cleanup;

/// What upstreams see of us, where it makes a difference to how their connections are made.
const SOURCES: [&str; 2] = ["--source node", "--source client --upstream-interface eth1"];

/// The backend does what the first byte says.
mod ask {
    /// Sends back what comes.
    pub const ECHO: u8 = b'e';
    /// Sends for ever.
    pub const SEND: u8 = b's';
    /// Ends its direction, and reads on.
    pub const END: u8 = b'f';
    /// Reads to the end, and then waits for what becomes of the connection.
    pub const HOLD: u8 = b'h';
    /// Answers with [`super::ANSWER`] bytes, and closes.
    pub const ANSWER: u8 = b'a';
}

/// Less than a client's receive buffer.
const ANSWER: usize = 20_000;

/// How the backend's side of connections ended, by what was asked of it.
type Ends = Sender<(u8, Option<End>)>;

fn serve(served: &mut Served, ends: &Ends) {
    let Some(ask) = served.read().and_then(|bytes| bytes.first().copied()) else { return };
    let read_on = |served: &mut Served| {
        served.read_to_end();
        served.end()
    };
    let end = match ask {
        ask::ECHO => {
            served.send(b"e");
            read_on(served)
        }
        ask::SEND => {
            let bytes = noise(7, MEBIBYTE);
            // The error is told once, here by a write: a read would find nothing but an end then.
            loop {
                if let Err(error) = served.stream().write_all(&bytes) {
                    break Some(End::from_error(&error));
                }
            }
        }
        ask::END => {
            served.finish();
            read_on(served)
        }
        ask::HOLD => {
            served.read_to_end();
            served.send(b"h");
            // It has been told the end already, so a read finds nothing but that.
            let failed = || served.stream().take_error().is_ok_and(|error| error.is_some());
            wait_until(PATIENCE, "a reset behind the end", failed).ok().map(|()| End::Reset)
        }
        _ => {
            served.read_to_end();
            served.send(&noise(8, ANSWER));
            return;
        }
    };
    let _ = ends.send((ask, end));
}

/// One connection of each kind, all of them in the middle of something, and one that has ended.
struct Middle {
    idle: Client,
    uploading: Client,
    downloading: Client,
    /// The backend has ended its direction.
    ended: Client,
    /// The client has.
    holding: Client,
    /// Both have, and the client has read nothing of the answer yet.
    over: Client,
}

impl Middle {
    fn begin(scene: &Scene) -> Self {
        let ask = |ask: u8| {
            let mut client = scene.connect();
            client.send(&[ask]);
            client
        };
        let mut idle = ask(ask::ECHO);
        assert_eq!(idle.receive(1), b"e");
        let mut uploading = ask(ask::ECHO);
        assert_eq!(uploading.receive(1), b"e");
        let mut downloading = ask(ask::SEND);
        downloading.receive(MEBIBYTE);
        let mut ended = ask(ask::END);
        assert_eq!(ended.rest(), Reply::ended(b""));
        let mut holding = ask(ask::HOLD);
        holding.finish();
        assert_eq!(holding.receive(1), b"h");
        let mut over = ask(ask::ANSWER);
        over.finish();
        let first = over.receive(1);
        assert_eq!(first, noise(8, 1));
        Self { idle, uploading, downloading, ended, holding, over }
    }

    /// Has `end` happen while bytes go both ways, and looks at how each of them ends.
    fn assert_reset(self, case: &str, ends: &Receiver<(u8, Option<End>)>, end: impl FnOnce()) {
        let Self { mut idle, uploading, mut downloading, ended, mut holding, mut over } = self;
        let (going, goes) = mpsc::channel();
        let mut upload = uploading.stream().try_clone().expect("a socket can be shared");
        let writer = thread::spawn(move || {
            let bytes = noise(9, MEBIBYTE);
            while upload.write_all(&bytes).is_ok() {
                let _ = going.send(());
            }
        });
        goes.recv_timeout(PATIENCE).expect("bytes go up");
        let reader = thread::spawn(move || downloading.rest().end);
        end();
        assert_eq!(idle.rest(), Reply { bytes: vec![], end: End::Reset }, "{case}: idle");
        assert_eq!(reader.join().expect("it only reads"), End::Reset, "{case}: downloading");
        assert_eq!(holding.rest(), Reply { bytes: vec![], end: End::Reset }, "{case}: half-closed");
        writer.join().expect("it only writes");
        let failed = || ended.stream().take_error().is_ok_and(|error| error.is_some());
        wait_until(PATIENCE, "a reset behind the end", failed)
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        let Reply { bytes, end } = over.rest();
        assert_same_bulk(&bytes, &noise(8, ANSWER)[1..]);
        assert_eq!(end, End::Eof, "{case}: one that had ended before");
        let mut seen: Vec<_> =
            (0..5).map(|_| ends.recv_timeout(PATIENCE).expect("each of them ends")).collect();
        seen.sort_by_key(|(ask, _)| *ask);
        let asked = [ask::ECHO, ask::ECHO, ask::END, ask::HOLD, ask::SEND];
        assert_eq!(seen, asked.map(|ask| (ask, Some(End::Reset))), "{case}: the backend");
    }
}

/// A scene, and where the backend tells how its connections ended.
fn scene(family: Family, flags: &[&str]) -> (Scene, Receiver<(u8, Option<End>)>) {
    let (told, ends) = mpsc::channel();
    let flags = [&[OFF, "--outbound none"], flags].concat();
    (FOREWORD.scene_serving(family, &flags, move |served| serve(served, &told)), ends)
}

#[apply(both_families)]
fn a_killed_process_resets_what_it_was_in_the_middle_of(family: Family) {
    for source in SOURCES {
        let (mut scene, ends) = scene(family, &[source]);
        Middle::begin(&scene).assert_reset(source, &ends, || {
            scene.foreword.signal(Signal::SIGKILL).expect("it runs");
        });
        scene.foreword.wait(PATIENCE).expect("it is dead");
        cleanup(&scene.lab.node);
    }
}

#[apply(both_families)]
fn a_drain_that_takes_too_long_resets_what_is_left(family: Family) {
    for source in SOURCES {
        let (mut scene, ends) = scene(family, &[source, "--drain-timeout 2s"]);
        Middle::begin(&scene).assert_reset(source, &ends, || {
            scene.foreword.signal(Signal::SIGTERM).expect("it runs");
        });
        let ended = scene.foreword.wait(PATIENCE + Duration::from_secs(1)).expect("it ends");
        assert_eq!(ended.code(), Some(0), "{source}: {}", scene.foreword.output());
    }
}
