//! A worker that does not come round, with the others at work: probes, status and metrics say which,
//! and the process still ends when it is asked to.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use netlab::{Foreword, Lab, PATIENCE, PORT, lab, wait_until};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::admin::{Run, get};
use crate::config_file::{rule, wait_for};

/// How often it is looked whether the thread has ended.
const STEP: Duration = Duration::from_millis(20);

/// A thread of another process that stands still, by `ptrace`, until this is dropped.
struct Stopped {
    let_go: Option<mpsc::Sender<()>>,
    tracer: Option<thread::JoinHandle<()>>,
}

impl Stopped {
    fn thread(of: &Foreword, name: &str) -> Self {
        let tasks = fs::read_dir(format!("/proc/{}/task", of.pid())).expect("it runs");
        let mut tasks = tasks.flatten().map(|task| task.path());
        let is_named = |name: &str, task: &Path| {
            fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        };
        let task = tasks.find(|task| is_named(name, task)).expect("there is such a thread");
        let number = task.file_name().and_then(|name| name.to_str()?.parse().ok());
        let thread = Pid::from_raw(number.expect("a task is called by its number"));
        let (let_go, wait) = mpsc::channel();
        let (stopped, has_stopped) = mpsc::channel();
        // A tracer is one thread, and what it traces goes on when it ends.
        let tracer = thread::spawn(move || {
            ptrace::seize(thread, ptrace::Options::empty()).expect("root may trace it");
            ptrace::interrupt(thread).expect("it is traced");
            waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
            stopped.send(()).expect("it is waited for");
            // When the process ends it has to be reaped here, or the process would stay.
            while wait.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
                let _ = waitpid(thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
            }
            let _ = ptrace::detach(thread, None);
        });
        has_stopped.recv().expect("the thread stops");
        Self { let_go: Some(let_go), tracer: Some(tracer) }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.let_go.take());
        let _ = self.tracer.take().map(thread::JoinHandle::join);
    }
}

fn start(lab: &Lab) -> Run {
    Run::start(lab, rule(PORT, "none").with("workers: 2"))
}

#[apply(lab_test)]
fn a_worker_that_stands_still_fails_the_probes() {
    let lab = lab();
    let run = start(&lab);
    let health = |flags: &str| run.ask(&format!("health{flags}"));
    let assert_well = || {
        for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
            assert_eq!(get(&lab, path), ("200".to_owned(), body.to_owned()));
        }
        assert!(["", " --ready"].iter().all(|flags| health(flags).status.success()));
    };
    // Longer than a worker may take.
    thread::sleep(Duration::from_secs(4));
    assert_well();

    let stopped = Stopped::thread(&run.foreword, "worker-1");
    wait_until(PATIENCE, "a failing probe", || get(&lab, "/healthz").0 == "503")
        .expect("a probe fails");
    let reason = "worker 1 has not come round for ";
    for path in ["/healthz", "/readyz"] {
        let (status, why) = get(&lab, path);
        assert!(status == "503" && why.starts_with(reason), "{path}: {status} {why}");
    }
    for flags in ["", " --ready"] {
        let output = health(flags);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{flags}: {stderr}");
        assert!(stderr.starts_with(&format!("error: {reason}")), "{flags}: {stderr}");
    }
    let status = run.ask("status");
    let status = String::from_utf8_lossy(&status.stdout);
    assert!(status.contains(&format!("workers     2: {reason}")), "{status}");
    let metrics = get(&lab, "/metrics").1;
    let stalled = |worker: u32| -> u64 {
        let name = format!("foreword_worker_stalled_seconds{{worker=\"{worker}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.and_then(|line| line.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
    };
    assert!(stalled(0) == 0 && stalled(1) >= 2, "{metrics}");
    // Nobody is kept waiting by what needs its answer, and nothing is half done.
    let reload = run.ask("reload");
    let stderr = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert!(reload.status.code() == Some(1) && stderr.contains(reason), "{stderr}");

    drop(stopped);
    wait_until(PATIENCE, "a probe that passes", || get(&lab, "/healthz").0 == "200")
        .expect("it comes round again");
    assert_well();
    for words in ["a worker does not come round", "the worker comes round again"] {
        wait_for(&run.foreword, words, 1);
    }
}

#[apply(lab_test)]
fn a_stalled_worker_does_not_hold_up_the_end() {
    let lab = lab();
    let mut run = start(&lab);
    let _stopped = Stopped::thread(&run.foreword, "worker-0");
    let status = run.foreword.terminate().expect("it ends after SIGTERM");
    assert_eq!(status.code(), Some(0), "{}", run.foreword.output());
    assert!(run.foreword.output().contains("\ndetached"), "{}", run.foreword.output());
}
