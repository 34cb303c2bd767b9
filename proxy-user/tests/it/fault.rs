//! A program of which one system call fails, or is its last: any one, by its place in the order in
//! which all threads together make them.
//!
//! By `ptrace`, since what injects faults by number elsewhere counts for each thread anew, and so
//! can't reach the second of two short-lived threads that do the same. The names of registers are
//! those of x86-64.

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::scope;
use std::time::Duration;

use netlab::{Netns, Scratch};
use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A system call: its number, and its name.
pub type Call = (c_long, &'static str);

const STDOUT: u64 = 1;
const STDERR: u64 = 2;

/// The commands of `bpf` that only ask: how many are made depends on what else is on the machine.
/// They are `BPF_PROG_GET_NEXT_ID` to `BPF_PROG_QUERY`.
const BPF_QUESTIONS: RangeInclusive<u64> = 11..=16;

/// An attempt that goes on for longer is killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a program ended of which one call was chosen.
#[derive(Debug)]
pub struct Ended {
    pub pid: u32,
    /// The chosen call; `None` if there were fewer.
    pub failed: Option<&'static str>,
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// What becomes of the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// It isn't made, and fails with `EPERM`.
    Refusal,
    /// The process is killed right before it.
    Death,
}

/// When calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum During {
    /// Before the program's first output.
    Start,
    /// Once it is ready, from [`Running::count_from_now`] on.
    Service,
    /// From that moment on as well, but only calls of the threads that relay.
    Relaying,
}

/// What is to fail: of the calls of these kinds, made at that time, the one with this number, counted
/// from 0.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub during: During,
    pub calls: &'static [Call],
    pub number: usize,
    pub consequence: Consequence,
}

/// A program that has said that it is ready.
#[derive(Debug)]
pub struct Running<'a> {
    pub pid: u32,
    stdout: &'a Path,
    stderr: &'a Path,
    counting: &'a AtomicBool,
}

impl Running<'_> {
    /// From the next call on, they count. (A signal to the program would not do: the tracer may see
    /// any number of stops of its other threads first.)
    pub fn count_from_now(&self) {
        self.counting.store(true, Ordering::SeqCst);
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        [self.stdout, self.stderr].map(|path| fs::read_to_string(path).unwrap_or_default()).concat()
    }
}

/// Runs a program in `netns`, with one of its calls chosen. When a line of its
/// output begins with `ready`, it is handed to `when_ready`, and it is sent SIGTERM
/// afterwards.
pub fn run(
    netns: &Netns,
    program: &Path,
    arguments: &[&str],
    fault: Fault,
    when_ready: impl Fn(&Running<'_>) + Sync,
) -> Ended {
    let scratch = Scratch::new();
    let [stdout, stderr] = ["stdout", "stderr"].map(|name| scratch.path().join(name));
    let create = |path| File::create(path).expect("a file of ours can be written");
    // The tracer is one thread, and the program its own child.
    let (pid, failed, code) = netns.run(|| {
        let mut command = Command::new("sh");
        command.args(["-c", "read go && exec \"$0\" \"$@\""]).arg(program).args(arguments);
        command.env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::piped()).stdout(create(&stdout)).stderr(create(&stderr));
        #[allow(clippy::zombie_processes, reason = "the tracer waits for it")]
        let mut child = command.spawn().expect("there is a shell");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid fits in 31 bits"));
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(pid, options).expect("root may trace its child");
        child.stdin.take().expect("it is piped").write_all(b"\n").expect("it is read");
        let counting = AtomicBool::new(fault.during == During::Start);
        let mut tracer = Tracer::new(pid, fault, &counting, &stdout);
        let running =
            Running { pid: child.id(), stdout: &stdout, stderr: &stderr, counting: &counting };
        let code = tracer.follow(|| when_ready(&running));
        (child.id(), tracer.failed, code)
    });
    let read = |path| fs::read_to_string(path).expect("it was written as text");
    Ended { pid, failed, code, stdout: read(&stdout), stderr: read(&stderr) }
}

#[derive(Debug)]
struct Tracer<'a> {
    leader: Pid,
    during: During,
    /// Whether calls count by now.
    counting: &'a AtomicBool,
    calls: &'static [Call],
    consequence: Consequence,
    /// How many calls are still to pass before the one that fails.
    to_pass: usize,
    stage: Stage,
    /// The thread whose call is being refused.
    refusing: Option<Pid>,
    failed: Option<&'static str>,
    stdout: &'a Path,
}

/// How far the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The shell, then the dynamic linker.
    Loading,
    /// From its own beginning to its first output.
    Starting,
    /// From then on.
    Started,
    /// It has said so.
    Ready,
}

impl<'a> Tracer<'a> {
    fn new(leader: Pid, fault: Fault, counting: &'a AtomicBool, stdout: &'a Path) -> Self {
        let Fault { during, calls, number: to_pass, consequence } = fault;
        let stage = Stage::Loading;
        let (refusing, failed) = (None, None);
        Self {
            leader,
            during,
            counting,
            calls,
            consequence,
            to_pass,
            stage,
            refusing,
            failed,
            stdout,
        }
    }

    /// Follows the program to its end, and gives its exit code.
    fn follow(&mut self, when_ready: impl Fn() + Sync) -> Option<i32> {
        let leader = self.leader;
        scope(|scope| {
            let (over, is_over) = mpsc::channel::<()>();
            scope.spawn(move || {
                if is_over.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let _ = signal::kill(leader, Signal::SIGKILL);
                }
            });
            let mut is_told = false;
            let code = loop {
                match self.step() {
                    ControlFlow::Break(code) => break code,
                    ControlFlow::Continue(()) if self.stage == Stage::Ready && !is_told => {
                        is_told = true;
                        let when_ready = &when_ready;
                        scope.spawn(move || {
                            when_ready();
                            let _ = signal::kill(leader, Signal::SIGTERM);
                        });
                    }
                    ControlFlow::Continue(()) => {}
                }
            };
            drop(over);
            code
        })
    }

    /// Waits for the next stop of any of its threads and lets that one go on; at the end of all,
    /// its exit code.
    fn step(&mut self) -> ControlFlow<Option<i32>> {
        // Children of this thread only: others are other tests' business.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        match waitpid(Pid::from_raw(-1), Some(flags)).expect("the program is a child") {
            WaitStatus::Exited(pid, code) if pid == self.leader => {
                return ControlFlow::Break(Some(code));
            }
            WaitStatus::Signaled(pid, ..) if pid == self.leader => {
                return ControlFlow::Break(None);
            }
            WaitStatus::PtraceSyscall(pid) => {
                // A thread can be killed at any moment; then there is nothing to do for it.
                let _ = self.at_call(pid);
                let _ = ptrace::syscall(pid, None);
            }
            WaitStatus::PtraceEvent(pid, ..) => {
                let _ = ptrace::syscall(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => {
                let _ = ptrace::syscall(pid, signal);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn at_call(&mut self, pid: Pid) -> nix::Result<()> {
        let mut registers = ptrace::getregs(pid)?;
        // What the kernel writes there before a call, and after one that has no such number.
        let has_no_result = registers.rax == (-(Errno::ENOSYS as i64)).cast_unsigned();
        if !has_no_result || self.refusing == Some(pid) {
            if self.refusing.take_if(|refused| *refused == pid).is_some() {
                registers.rax = (-(Errno::EPERM as i64)).cast_unsigned();
                ptrace::setregs(pid, registers)?;
            }
            return Ok(());
        }
        let call = registers.orig_rax.cast_signed();
        self.advance(call, registers.rdi);
        let is_message = call == libc::SYS_write && registers.rdi <= STDERR;
        if !self.counts(pid) || self.failed.is_some() || is_message {
            return Ok(());
        }
        if call == libc::SYS_bpf && BPF_QUESTIONS.contains(&registers.rdi) {
            return Ok(());
        }
        let counted = self.calls.iter().find(|(number, _)| *number == call);
        let Some((_, name)) = counted else { return Ok(()) };
        if self.to_pass > 0 {
            self.to_pass -= 1;
            return Ok(());
        }
        self.failed = Some(*name);
        if self.consequence == Consequence::Death {
            return signal::kill(self.leader, Signal::SIGKILL);
        }
        self.refusing = Some(pid);
        // No call has this number.
        registers.orig_rax = u64::MAX;
        ptrace::setregs(pid, registers)
    }

    /// Whether a call that this thread makes now counts.
    fn counts(&self, thread: Pid) -> bool {
        let is_worker = || {
            let name = fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
            name.starts_with("worker-")
        };
        self.counting.load(Ordering::SeqCst)
            && match self.during {
                During::Start => self.stage == Stage::Starting,
                During::Service => self.stage == Stage::Ready,
                During::Relaying => self.stage == Stage::Ready && is_worker(),
            }
    }

    fn advance(&mut self, call: c_long, first_argument: u64) {
        self.stage = match self.stage {
            // Rust's runtime begins by looking at its standard streams.
            Stage::Loading if call == libc::SYS_poll => Stage::Starting,
            Stage::Starting if call == libc::SYS_write && first_argument == STDOUT => {
                Stage::Started
            }
            Stage::Started if self.has_said_ready() => Stage::Ready,
            stage => stage,
        }
    }

    fn has_said_ready(&self) -> bool {
        let output = fs::read_to_string(self.stdout).unwrap_or_default();
        output.lines().any(|line| line.starts_with("ready"))
    }
}
