//! Output that goes nowhere: a pipe that nobody reads, a pipe whose reader has gone, a device and a
//! disk that are full. Traffic neither ends nor waits for it, the probes tell the truth, and what was
//! lost is counted.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use foreword::logging::non_blocking::NonBlockingWriter;
use netlab::{Backend, Client, ConfigFile, Family, Lab, PATIENCE, Scratch, lab, wait_until};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe, write};

use crate::FOREWORD;
use crate::admin::get;
use crate::config_file::require_on_80;
use crate::probe::{FLAGS, assert_served, echoes};

/// How long an end may take: the last lines are waited for, one second at most.
const END: Duration = Duration::from_secs(15);

/// Where output goes, and what has to be kept for as long as it does.
struct Sink {
    stdout: Stdio,
    stderr: Stdio,
    reader: Option<OwnedFd>,
}

impl Sink {
    /// A pipe that is full already.
    fn full_pipe() -> Self {
        let (reader, writer) = pipe().expect("there are descriptors");
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("it is ours");
        while write(&writer, &[b'.'; 4096]).is_ok() {}
        while write(&writer, b".").is_ok() {}
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).expect("it is ours");
        Self { reader: Some(reader), ..Self::both(&writer) }
    }

    fn broken_pipe() -> Self {
        let (reader, writer) = pipe().expect("there are descriptors");
        drop(reader);
        Self::both(&writer)
    }

    fn file(path: &Path) -> Self {
        Self::both(&OpenOptions::new().append(true).open(path).expect("it is there"))
    }

    fn both(stream: &impl AsFd) -> Self {
        let twin = || stream.as_fd().try_clone_to_owned().expect("there are descriptors");
        Self { stdout: twin().into(), stderr: twin().into(), reader: None }
    }
}

/// A disk that has room for a page, with an empty file on it.
struct SmallDisk {
    scratch: Scratch,
}

impl SmallDisk {
    fn new() -> Self {
        let scratch = Scratch::new();
        let (kind, size) = (Some("tmpfs"), Some("size=4096"));
        mount(kind, scratch.path(), kind, MsFlags::empty(), size).expect("root may mount");
        fs::write(scratch.path().join("log"), "").expect("an empty file needs no room");
        Self { scratch }
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    /// Takes the page.
    fn fill(&self) {
        let filled = fs::write(self.scratch.path().join("filler"), [0; 8192]);
        assert!(filled.is_err(), "there is room");
    }

    /// Has room for another page.
    fn grow(&self) {
        let (none, size) = (None::<&str>, Some("size=8192"));
        mount(none, self.scratch.path(), none, MsFlags::MS_REMOUNT, size).expect("root may");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.scratch.path(), MntFlags::MNT_DETACH);
    }
}

/// A Foreword whose output goes elsewhere, so that only probes tell how it is.
struct Process {
    child: Child,
    _config: Option<ConfigFile>,
}

impl Process {
    fn start(mut command: Command, config: Option<ConfigFile>, sink: Sink, lab: &Lab) -> Self {
        command.env("RUST_LOG", "warn,foreword=debug").env_remove("RUST_BACKTRACE");
        command.stdin(Stdio::null()).stdout(sink.stdout).stderr(sink.stderr);
        let mut run = Self { child: command.spawn().expect("it is built"), _config: config };
        wait_until(PATIENCE, "a start", || !run.is_running() || get(lab, "/readyz").0 == "200")
            .expect("it starts, whatever it can write");
        assert!(run.is_running(), "it refuses to start");
        run
    }

    fn attach(lab: &Lab, sink: Sink) -> Self {
        let mut command = FOREWORD.command(&lab.node);
        command.arg("attach").args(FLAGS.split(' ')).args(["--admin-http", "127.0.0.1:9478"]);
        Self::start(command, None, sink, lab)
    }

    fn run(lab: &Lab, sink: Sink) -> Self {
        let config = ConfigFile::saying(require_on_80());
        let mut command = FOREWORD.command(&lab.node);
        command.arg("run").arg("--config").arg(config.path());
        Self::start(command, Some(config), sink, lab)
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGTERM, and how it ends.
    fn end(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).expect("a pid fits in 31 bits");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
        wait_until(END, "the end", || !self.is_running()).expect("it ends after SIGTERM");
        self.child.wait().expect("it is ours")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines that were lost of a stream.
fn lost(lab: &Lab, stream: &str) -> u64 {
    let metrics = get(lab, "/metrics").1;
    let name = format!("foreword_log_lines_lost_total{{stream=\"{stream}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok());
    count.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

fn assert_goes_on(sink: impl Fn() -> Sink, is_lost_at_once: bool) {
    let lab = lab();
    let backends = echoes(&lab);
    for start in [Process::attach, Process::run] {
        let Sink { stdout, stderr, reader } = sink();
        let mut run = start(&lab, Sink { stdout, stderr, reader: None });
        refuse_two(&lab, &backends[0]);
        for (family, backend) in [Family::V4, Family::V6].into_iter().zip(&backends).cycle().take(8)
        {
            assert_served(&lab, backend, family);
        }
        // Whoever is asked once a second has been asked by then, and has answered or not.
        sleep(Duration::from_secs(3));
        assert_eq!(get(&lab, "/healthz"), ("200".to_owned(), "ok\n".to_owned()));
        assert_eq!(get(&lab, "/readyz"), ("200".to_owned(), "ready\n".to_owned()));
        if is_lost_at_once {
            let both = ["stdout", "stderr"].map(|stream| lost(&lab, stream));
            assert!(both.iter().all(|lost| *lost > 0), "{both:?}");
        }
        assert!(run.is_running());
        assert_eq!(run.end().code(), Some(0));
        drop(reader);
    }
}

/// Each is a line of the log.
fn refuse_two(lab: &Lab, backend: &Backend) {
    for _ in 0..2 {
        let mut client = Client::connect(&lab.client, Family::V4.lb(), backend.address());
        client.offer(b"G");
        client.reset();
    }
}

#[apply(lab_test)]
fn a_pipe_that_nobody_reads_delays_nothing() {
    assert_goes_on(Sink::full_pipe, false);
}

#[apply(lab_test)]
fn a_pipe_whose_reader_has_gone_ends_nothing() {
    assert_goes_on(Sink::broken_pipe, true);
}

#[apply(lab_test)]
fn a_full_device_ends_nothing() {
    assert_goes_on(|| Sink::file(Path::new("/dev/full")), true);
}

#[apply(lab_test)]
fn a_full_disk_ends_nothing() {
    let disk = SmallDisk::new();
    disk.fill();
    assert_goes_on(|| Sink::file(&disk.log()), true);
}

#[apply(lab_test)]
fn what_was_lost_is_told_when_somebody_reads_again() {
    let lab = lab();
    let backends = echoes(&lab);
    let mut sink = Sink::full_pipe();
    let reader = sink.reader.take().expect("a pipe has one");
    let mut run = Process::attach(&lab, sink);
    // A line each, at debug.
    let begun = Instant::now();
    while lost(&lab, "stderr") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "whatever is said has room");
        for _ in 0..100 {
            drop(Client::connect(&lab.client, Family::V4.lb(), backends[0].address()));
        }
    }
    assert_served(&lab, &backends[0], Family::V4);
    let lost_by_then = lost(&lab, "stderr");

    let mut read = Vec::new();
    let mut buffer = [0; 8192];
    let mut reader = File::from(reader);
    let told = |read: &[u8]| -> u64 {
        let text = String::from_utf8_lossy(read).into_owned();
        let of_log = text.lines().filter(|line| line.contains("lines of the log were lost"));
        let counts = of_log.filter_map(|line| line.rsplit_once("lines=")?.1.parse::<u64>().ok());
        counts.sum()
    };
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("it is ours");
    wait_until(PATIENCE, "what was lost", || {
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            read.extend_from_slice(&buffer[..count]);
        }
        told(&read) >= lost_by_then
    })
    .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&read)));
    assert_eq!(told(&read), lost(&lab, "stderr"), "each is told once");
    let text = String::from_utf8_lossy(&read);
    assert!(text.contains("\nready: Ctrl-C drains and detaches\n"), "{text}");
    assert_eq!(run.end().code(), Some(0));
}

#[apply(lab_test)]
fn a_torn_line_is_ended_before_the_next() {
    let disk = SmallDisk::new();
    let file = File::create(disk.log()).expect("it is there");
    let writer = NonBlockingWriter::open("test", file, |_| {}).expect("there are threads");
    let put = |text: &str| {
        writer.enqueue(text.as_bytes().to_vec());
        assert!(writer.flush(Instant::now() + PATIENCE), "a disk does not wait");
    };
    let first = format!("{}\n", "x".repeat(4089));
    put(&first);
    put("the second\n");
    assert_eq!(writer.lost(), 1);
    disk.grow();
    put("third\n");
    let written = fs::read_to_string(disk.log()).expect("it is there");
    assert_eq!(written, format!("{first}the se\nthird\n"));
}
