//! The node with its processes, and what is known of them.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::thread::sleep;
use std::time::Duration;

use netlab::header::{named_client, named_destination, named_headers, v1};
use netlab::{
    Backend, Client, Daemon, End, Family, Foreword, Lab, PATIENCE, Reply, join, lab, wait_until,
};
use nix::libc;
use nix::sys::signal::Signal;

use crate::FOREWORD;
use crate::fault::{self, Call, Consequence, During, Fault};
use crate::footprint::{Footprint, NodeState};
use crate::probe::{FLAGS, assert_served, cleanup, echoes, flows_directly, is_held};

/// A first packet that is dropped is not answered for so long.
const DROPPED: Duration = Duration::from_millis(250);

/// Those by which a start changes what others see, but for `bpf`, by which it looks at every program
/// of the machine.
const CALLS: [Call; 5] = [
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_recvmsg, "recvmsg"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_pwrite64, "pwrite64"),
];

/// A process and the connections that are open by it.
struct Process {
    foreword: Foreword,
    connections: Vec<Client>,
    hold: bool,
}

impl Process {
    /// How often it has said so.
    fn times(&self, word: &str) -> usize {
        self.foreword.output().matches(word).count()
    }

    /// Killed, with what its connections see of it.
    fn kill(mut self) {
        self.foreword.kill().expect("it runs");
        for mut connection in self.connections {
            let end = connection.rest();
            assert_eq!(end, Reply { bytes: vec![], end: End::Reset }, "a connection of the killed");
        }
    }
}

/// A node, and what it should be like.
pub struct Node {
    server: Option<Process>,
    draining: Vec<Process>,
    /// Whether ports are closed when nobody serves.
    held: bool,
    hook: &'static str,
    /// All that have ever been started, by their pids.
    started: Vec<u32>,
    empty: NodeState,
    backends: [Backend; 2],
    lab: Lab,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hold, connections, output) =
            (self.hold, self.connections.len(), self.foreword.output());
        let pid = self.foreword.pid();
        write!(f, "{pid}, hold: {hold}, {connections} connections, said:\n{output}")
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, draining, held, hook, .. } = self;
        write!(f, "on {hook}, held: {held}\nserver: {server:?}\ndraining: {draining:?}")
    }
}

impl Node {
    pub fn new(hook: &'static str) -> Self {
        let lab = lab();
        Self {
            server: None,
            draining: Vec::new(),
            held: false,
            hook,
            started: Vec::new(),
            empty: NodeState::of(&lab.node),
            backends: echoes(&lab),
            lab,
        }
    }

    fn flags(&self, hold: bool, take_over: bool) -> String {
        let hold = if hold { " --when-absent drop" } else { "" };
        let take_over = if take_over { " --take-over" } else { "" };
        format!("{FLAGS} --hook {} --drain-timeout 10m{hold}{take_over}", self.hook)
    }

    fn attach(&mut self, hold: bool, take_over: bool) -> Process {
        let foreword = FOREWORD.attach(&self.lab.node, &self.flags(hold, take_over));
        self.started.push(foreword.pid());
        Process { foreword, connections: Vec::new(), hold }
    }

    fn spawn(&mut self, hold: bool, take_over: bool) -> Daemon {
        let flags = self.flags(hold, take_over);
        let flags: Vec<_> = flags.split_whitespace().collect();
        let daemon = FOREWORD.spawn(&self.lab.node, &flags);
        self.started.push(daemon.pid());
        daemon
    }

    pub fn start(&mut self, hold: bool) {
        if self.server.is_none() {
            let process = self.attach(hold, false);
            return self.serve(process);
        }
        let mut refused = self.spawn(hold, false);
        let status = refused.wait(PATIENCE).expect("it ends by itself");
        let output = refused.output();
        assert!(status.code() == Some(1) && output.contains("is already steered"), "{output}");
    }

    fn serve(&mut self, process: Process) {
        self.held = process.hold;
        self.server = Some(process);
    }

    pub fn take_over(&mut self, hold: bool) {
        let successor = self.attach(hold, true);
        if let Some(predecessor) = self.server.take() {
            self.retire(predecessor);
        }
        self.serve(successor);
    }

    /// Waits until it has ended for want of connections, or can't come back any more.
    fn retire(&mut self, mut process: Process) {
        if process.connections.is_empty() {
            let status = process.foreword.wait(PATIENCE);
            let status = status.unwrap_or_else(|error| panic!("{error}: {process:?}"));
            assert_eq!(status.code(), Some(0), "{}", process.foreword.output());
            return;
        }
        wait_until(PATIENCE, "a drain", || process.times("draining ") > 0)
            .unwrap_or_else(|error| panic!("{error}: {}", process.foreword.output()));
        self.draining.push(process);
    }

    pub fn take_over_from_the_dying(&mut self, hold: bool, after: Duration) {
        let Some(predecessor) = self.server.take() else { return };
        let daemon = self.spawn(hold, true);
        sleep(after);
        predecessor.kill();
        let foreword = Foreword::once_ready(daemon).unwrap_or_else(|error| panic!("{error:#}"));
        self.serve(Process { foreword, connections: Vec::new(), hold });
    }

    pub fn take_over_and_die(&mut self, hold: bool) {
        let Some(predecessor) = &self.server else { return };
        let back = predecessor.times("back: ");
        let mut successor = FOREWORD.attach(&self.lab.node, &self.flags(hold, true));
        self.started.push(successor.pid());
        successor.kill().expect("it runs");
        self.expect_back(back);
    }

    /// The predecessor serves again, or it has had so long to wait that its successor counts as one
    /// that has served and is gone.
    fn expect_back(&mut self, before: usize) {
        let Some(mut predecessor) = self.server.take() else { return };
        let mut ends = false;
        wait_until(PATIENCE, "a predecessor's answer", || {
            ends = predecessor.times("draining ") > 0 || !predecessor.foreword.is_running();
            ends || predecessor.times("back: ") > before
        })
        .unwrap_or_else(|error| panic!("{error}: {}", predecessor.foreword.output()));
        if ends {
            return self.retire(predecessor);
        }
        self.serve(predecessor);
    }

    /// Says whether the start has come as far as that call.
    pub fn fail(
        &mut self,
        take_over: bool,
        hold: bool,
        number: usize,
        consequence: Consequence,
    ) -> bool {
        let back = self.server.as_ref().map_or(0, |server| server.times("back: "));
        let asked = self.server.as_ref().map_or(0, |server| server.times("succeeded: "));
        let arguments = format!("attach {}", self.flags(hold, take_over));
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        let fault = Fault { during: During::Start, calls: &CALLS, number, consequence };
        let ended = fault::run(&self.lab.node, FOREWORD.path(), &arguments, fault, |_| {});
        self.started.push(ended.pid);
        let has_served = ended.stdout.lines().any(|line| line.starts_with("ready"));
        match &self.server {
            None if has_served => self.held = hold,
            // Its hold may have been there already; an older one stays until a start has succeeded.
            None if consequence == Consequence::Death && hold => {
                self.held |= is_held(&self.lab.node);
            }
            Some(server) if server.times("succeeded: ") > asked => self.expect_back(back),
            None | Some(_) => {}
        }
        ended.failed.is_some()
    }

    pub fn connect(&mut self) {
        let Some(server) = &mut self.server else { return };
        let family = Family::V4;
        let [_, header] = named_headers(family);
        let to = self.backends[0].address();
        let mut client = Client::connect(&self.lab.client, family.lb(), to);
        client.send(&join(&header, b"hello"));
        let answer = join(&v1(named_client(family), named_destination(family)), b"hello");
        assert_eq!(client.receive(answer.len()), answer);
        server.connections.push(client);
    }

    pub fn disconnect(&mut self) {
        for connection in self.server.iter_mut().flat_map(|server| server.connections.drain(..)) {
            assert_eq!(connection.finish_and_rest(), Reply::ended(b""));
        }
        for mut process in self.draining.drain(..) {
            for connection in process.connections.drain(..) {
                assert_eq!(connection.finish_and_rest(), Reply::ended(b""));
            }
            let status = process.foreword.wait(PATIENCE).expect("nothing is left to wait for");
            assert_eq!(status.code(), Some(0), "{}", process.foreword.output());
        }
    }

    pub fn kill(&mut self) {
        self.server.take().into_iter().for_each(Process::kill);
    }

    pub fn kill_draining(&mut self) {
        self.draining.pop().into_iter().for_each(Process::kill);
    }

    pub fn terminate(&mut self) {
        let Some(server) = self.server.take() else { return };
        server.foreword.signal(Signal::SIGTERM).expect("it runs");
        self.retire(server);
    }

    pub fn clean_up(&mut self) {
        cleanup(&self.lab.node);
        // Of a process that serves, nothing is swept.
        self.held &= self.server.is_some();
    }

    /// Who gets where, by what should be so.
    pub fn assert_guarded(&self) {
        let state = format!("{self:?}");
        for (family, backend) in Family::BOTH.into_iter().zip(&self.backends) {
            if self.server.is_some() {
                assert_served(&self.lab, backend, family);
                self.assert_stranger_reaches_nobody(family, backend);
            } else if self.held {
                assert!(is_held(&self.lab.node), "{state}");
                let to = backend.address();
                let open = Client::try_connect_within(&self.lab.client, family.lb(), to, DROPPED);
                assert!(open.is_err(), "the port is held: {state}");
            } else {
                wait_until(PATIENCE, "a direct way", || flows_directly(&self.lab, backend, family))
                    .unwrap_or_else(|error| panic!("{error}: {state}"));
            }
        }
    }

    fn assert_stranger_reaches_nobody(&self, family: Family, backend: &Backend) {
        let (from, to) = (family.stranger(), backend.address());
        let Ok(mut client) = Client::try_connect_within(&self.lab.client, from, to, DROPPED) else {
            return;
        };
        let [_, header] = named_headers(family);
        client.offer(&join(&header, b"forged"));
        assert!(client.rest().bytes.is_empty(), "a stranger was answered: {self:?}");
    }

    pub fn assert_connections_go_on(&self) {
        for process in self.server.iter().chain(&self.draining) {
            for connection in &process.connections {
                let mut stream = connection.stream();
                let echo = stream.write_all(b"word").and_then(|()| {
                    let mut echo = [0; 4];
                    stream.read_exact(&mut echo).map(|()| echo)
                });
                assert!(matches!(&echo, Ok(word) if word == b"word"), "{echo:?}: {self:?}");
            }
        }
    }

    /// Everybody ends, and everything is swept.
    pub fn end(mut self) {
        self.disconnect();
        self.terminate();
        cleanup(&self.lab.node);
        self.empty.assert_restored(&self.lab.node);
        for pid in &self.started {
            Footprint::by_name(*pid).assert_gone(&self.lab.node);
        }
    }
}
