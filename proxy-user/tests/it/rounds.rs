//! What a worker does between two waits, by its own system calls: a flood may make rounds full, not
//! endless.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netlab::header::named_headers;
use netlab::{Family, OFF, PATIENCE, REQUIRE, Reply, Scene, Served, join, swallow, wait_until};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::FOREWORD;
use crate::bulk::{MEBIBYTE, noise};
use crate::flood::say;
use crate::maps::refused;

/// Clients that flood at the same time.
const FLOODS: usize = 8;
/// How long they do.
const FLOOD: Duration = Duration::from_secs(2);
/// Calls of a round in which everybody has something to do. Each of its 512 steps is two calls at
/// most, but those that begin a connection.
const FULL: usize = 2048;

/// Calls between two waits, by their numbers.
type Calls = BTreeMap<u64, usize>;

/// One worker that is watched, and held until it is let go.
struct Watched {
    go: Sender<()>,
    over: Arc<AtomicBool>,
    watching: JoinHandle<(usize, Calls)>,
}

impl Watched {
    /// Holds the process's only worker.
    fn hold(pid: u32) -> Self {
        let worker = worker_of(pid);
        let ((go, gone), (held, is_held)) = (mpsc::channel(), mpsc::channel());
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let watching = thread::spawn(move || watch(worker, &held, &gone, &until));
        is_held.recv_timeout(PATIENCE).expect("a thread can be stopped");
        Self { go, over, watching }
    }

    fn let_go(&self) {
        self.go.send(()).expect("it waits for that");
    }

    /// How many rounds there have been, and the longest of them.
    #[track_caller]
    fn assert_bounded(self, what: &str, most: usize, assert_served: impl Fn()) {
        self.over.store(true, Ordering::Relaxed);
        // It looks at the flag when the worker makes a call.
        assert_served();
        let (rounds, longest) = self.watching.join().expect("it only watches");
        let calls: usize = longest.values().sum();
        say(&format!("{what}: {rounds} rounds, {calls} calls in the longest: {longest:?}"));
        assert!(rounds > 10, "{what}: {rounds} rounds");
        assert!(calls <= most, "{what}: {calls} calls in a round: {longest:?}");
    }
}

/// The thread's id.
fn worker_of(pid: u32) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let named = |name: &str| name.trim() == "worker-0";
    let mut workers = tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| named(&name)));
    let id = workers.next().expect("there is one").file_name();
    Pid::from_raw(id.to_string_lossy().parse().expect("a thread's folder is its id"))
}

/// On a thread of its own, which alone may wait for what it traces.
fn watch(worker: Pid, held: &Sender<()>, gone: &Receiver<()>, over: &AtomicBool) -> (usize, Calls) {
    let wait = || {
        waitpid(worker, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD))
            .expect("it is traced by this thread")
    };
    ptrace::seize(worker, Options::PTRACE_O_TRACESYSGOOD).expect("root may trace");
    ptrace::interrupt(worker).expect("it is traced");
    wait();
    let _ = held.send(());
    let _ = gone.recv();
    let (mut rounds, mut longest, mut calls) = (0, Calls::new(), Calls::new());
    while !over.load(Ordering::Relaxed) {
        ptrace::syscall(worker, None).expect("it is stopped");
        match wait() {
            WaitStatus::PtraceSyscall(_) => {}
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return (rounds, longest),
            _ => continue,
        }
        let registers = ptrace::getregs(worker).expect("it is stopped");
        // What the kernel writes there before a call.
        if registers.rax != (-(Errno::ENOSYS as i64)).cast_unsigned() {
            continue;
        }
        if registers.orig_rax.cast_signed() != libc::SYS_epoll_wait {
            *calls.entry(registers.orig_rax).or_default() += 1;
            continue;
        }
        rounds += 1;
        if calls.values().sum::<usize>() > longest.values().sum() {
            longest.clone_from(&calls);
        }
        calls.clear();
    }
    ptrace::detach(worker, None).expect("it is stopped");
    (rounds, longest)
}

/// Has clients do something for a while, with [`FLOODS`] of them at a time, while others are served.
/// `assert_served` is what that means.
fn assert_rounds_are_bounded(
    scene: &Scene,
    what: &str,
    flood: impl Fn(Duration) + Sync,
    assert_served: impl Fn(),
) {
    let watched = Watched::hold(scene.foreword.pid());
    watched.let_go();
    let begin = Instant::now();
    let left = || FLOOD.saturating_sub(begin.elapsed());
    let mut served = 0;
    thread::scope(|scope| {
        for _ in 0..FLOODS {
            scope.spawn(|| {
                while !left().is_zero() {
                    flood(left());
                }
            });
        }
        while !left().is_zero() {
            assert_served();
            served += 1;
        }
    });
    say(&format!("{what}: {served} others were served"));
    watched.assert_bounded(what, FULL, assert_served);
}

#[apply(lab_test)]
fn a_refused_client_that_floods_is_read_in_turns() {
    let scene = FOREWORD.scene(Family::V4, &[REQUIRE, "--outbound none --workers 1"]);
    let bytes = noise(1, MEBIBYTE);
    let flood = |_| {
        let refused = scene.connect();
        while refused.stream().write_all(&bytes).is_ok() {}
    };
    let [_, header] = named_headers(scene.family);
    assert_rounds_are_bounded(&scene, "discard", flood, || {
        let mut client = scene.connect();
        client.send(&join(&header, b"hello"));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    });
    let all = || refused(&scene.foreword, "no-header") >= FLOODS as u64;
    wait_until(PATIENCE, "the count", all).expect("they are counted");
}

/// Up and down.
#[apply(lab_test)]
fn bulk_is_moved_in_turns() {
    let serve = |served: &mut Served| {
        if served.read().is_some_and(|bytes| bytes.starts_with(b"down")) {
            let bytes = noise(2, MEBIBYTE);
            while served.stream().write_all(&bytes).is_ok() {}
        }
        swallow(served);
    };
    let scene = FOREWORD.scene_serving(Family::V4, &[OFF, "--outbound none --workers 1"], serve);
    let bytes = noise(3, MEBIBYTE);
    let count = AtomicUsize::new(0);
    let flood = |left: Duration| {
        let begin = Instant::now();
        let mut client = scene.connect();
        if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            while begin.elapsed() < left && client.stream().write_all(&bytes).is_ok() {}
        } else {
            client.send(b"down");
            while begin.elapsed() < left {
                client.receive(MEBIBYTE);
            }
        }
    };
    assert_rounds_are_bounded(&scene, "bulk", flood, || {
        let mut client = scene.connect();
        client.send(b"hello");
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    });
}

/// They wait to be accepted while the worker is held, so that their deadlines come together as well.
#[apply(lab_test)]
fn many_that_come_and_time_out_at_once_take_turns() {
    const SILENT: usize = 600;
    /// Of those that are accepted, or whose deadline has come, in one round.
    const MOST: usize = 1024;
    let flags = "--outbound none --workers 1 --header-timeout 3s";
    let scene = FOREWORD.scene(Family::V4, &[REQUIRE, flags]);
    let watched = Watched::hold(scene.foreword.pid());
    let mut silent: Vec<_> = (0..SILENT).map(|_| scene.connect()).collect();
    watched.let_go();
    for client in &mut silent {
        assert_eq!(client.rest(), Reply::ended(b""));
    }
    drop(silent);
    let [_, header] = named_headers(scene.family);
    watched.assert_bounded("silence", MOST, || {
        let mut client = scene.connect();
        client.send(&join(&header, b"hello"));
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    });
    let all = || refused(&scene.foreword, "header-timeout") == SILENT as u64;
    wait_until(PATIENCE, "the count", all).expect("they are counted");
}
