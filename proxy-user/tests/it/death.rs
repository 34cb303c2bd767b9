//! Death: Foreword is killed, with connections open and new ones coming in.
//!
//! Nobody is left then to clean up, so what is shown here is the kernel's work, in the order in
//! which it closes what the process had.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use netlab::header::{named_client, named_destination, named_headers, v1};
use netlab::{
    Backend, Client, End, Family, Foreword, Lab, PATIENCE, PORT, Reply, echo, hooks, join, lab,
    output_of, wait_until, with_own_bpffs,
};
use nix::libc;
use nix::sys::signal::Signal;

use crate::FOREWORD;
use crate::fault::{self, Call, Consequence, During, Fault};
use crate::flood::say;
use crate::footprint::NodeState;
use crate::probe::{EVERYTHING, FLAGS, attach_and_serve, cleanup, echoes, flows_directly, left_by};

/// Deaths by each hook: the machine may be busy with something else during one of them.
const DEATHS: usize = 3;
const CONNECT_LOOPS: usize = 8;
const LONG_CONNECTIONS: usize = 20;
/// How many connections the loops have had relayed by the time of the death.
const RELAYED_BEFORE: usize = 2 * CONNECT_LOOPS;
/// How long they run after it.
const AFTER: Duration = Duration::from_millis(600);
/// Whoever hears nothing for so long hangs. A lost first packet is sent again after one second.
const HANGS: Duration = Duration::from_secs(5);
const AT_ONCE: Duration = Duration::from_millis(100);

/// What became of one short connection that brought a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Foreword has written its own header.
    Relayed,
    /// The backend got the client's own bytes.
    Direct,
    /// It was refused or ended early, and its client knows.
    Cut,
    /// Its client still waits.
    Hung,
}

#[derive(Debug)]
struct Attempt {
    begin: Instant,
    end: Instant,
    outcome: Outcome,
}

/// What the connect loops and their test tell each other.
#[derive(Debug, Default)]
struct Progress {
    relayed: AtomicUsize,
    over: AtomicBool,
}

/// One after the other, until told to stop.
fn connect_loop(lab: &Lab, family: Family, to: SocketAddr, progress: &Progress) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    while !progress.over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let outcome = connect(lab, family, to);
        if outcome == Outcome::Relayed {
            progress.relayed.fetch_add(1, Ordering::Relaxed);
        }
        attempts.push(Attempt { begin, end: Instant::now(), outcome });
    }
    attempts
}

fn connect(lab: &Lab, family: Family, to: SocketAddr) -> Outcome {
    let [_, header] = named_headers(family);
    let sent = join(&header, b"hello");
    let relayed = join(&v1(named_client(family), named_destination(family)), b"hello");
    let mut client = match Client::try_connect_within(&lab.client, family.lb(), to, HANGS) {
        Ok(client) => client,
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Outcome::Hung,
        Err(_) => return Outcome::Cut,
    };
    client.offer(&sent);
    // Of a connection that is reset already, there is nothing to close.
    let _ = client.stream().shutdown(std::net::Shutdown::Write);
    let reply = client.rest_within(HANGS);
    match reply.end {
        End::Silence => Outcome::Hung,
        End::Eof if reply.bytes == relayed => Outcome::Relayed,
        End::Eof if reply.bytes == sent => Outcome::Direct,
        End::Eof | End::Reset => Outcome::Cut,
    }
}

/// A connection in the middle of a conversation.
fn talking(lab: &Lab, family: Family, to: SocketAddr) -> Client {
    let [_, header] = named_headers(family);
    let mut client = Client::connect(&lab.client, family.lb(), to);
    client.send(&join(&header, b"hello"));
    let answer = join(&v1(named_client(family), named_destination(family)), b"hello");
    assert_eq!(client.receive(answer.len()), answer);
    client
}

/// What was seen of one death. Times are counted from the kill.
#[derive(Debug)]
struct Decoded {
    /// When the first connection was over that had flowed directly.
    first_direct: Duration,
    /// When the last attempt began that didn't flow directly.
    last_other: Duration,
    /// When the last of the long connections had ended.
    long_ended: Duration,
    relayed: usize,
    direct: usize,
    cut: usize,
    hung: usize,
}

impl fmt::Display for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first_direct, last_other, long_ended, relayed, direct, cut, hung } = self;
        write!(
            f,
            "first direct connection after {first_direct:.1?}, none but direct ones begun later \
             than {last_other:.1?}, {LONG_CONNECTIONS} long ones ended after {long_ended:.1?}; \
             {relayed} relayed, {direct} direct, {cut} cut, {hung} hung"
        )
    }
}

/// Kills a serving Foreword under [`CONNECT_LOOPS`], with [`LONG_CONNECTIONS`] open.
fn die(lab: &Lab, family: Family, to: SocketAddr, mut foreword: Foreword) -> Decoded {
    let mut long: Vec<_> = (0..LONG_CONNECTIONS).map(|_| talking(lab, family, to)).collect();
    let progress = Progress::default();
    let (kill, long_ends, long_ended, attempts) = scope(|scope| {
        let run = || connect_loop(lab, family, to, &progress);
        let loops: Vec<_> = (0..CONNECT_LOOPS).map(|_| scope.spawn(run)).collect();
        // No assertion before the loops are told to stop: they would go on for ever.
        let _ = wait_until(PATIENCE, "relayed connections", || {
            progress.relayed.load(Ordering::Relaxed) >= RELAYED_BEFORE
        });
        let kill = Instant::now();
        let _ = foreword.signal(Signal::SIGKILL);
        let long_ends: Vec<_> = long.iter_mut().map(|client| client.rest_within(HANGS)).collect();
        let long_ended = kill.elapsed();
        sleep(AFTER.saturating_sub(long_ended));
        progress.over.store(true, Ordering::Relaxed);
        let attempts = loops.into_iter().map(|run| run.join().expect("a loop only counts"));
        (kill, long_ends, long_ended, attempts.flatten().collect::<Vec<_>>())
    });
    foreword.wait(PATIENCE).expect("it is dead");
    for end in long_ends {
        assert_eq!(end, Reply { bytes: vec![], end: End::Reset }, "a long connection");
    }
    decoded(&attempts, kill, long_ended)
}

fn decoded(attempts: &[Attempt], kill: Instant, long_ended: Duration) -> Decoded {
    let of = |outcome| attempts.iter().filter(move |attempt| attempt.outcome == outcome);
    let others = attempts.iter().filter(|attempt| attempt.outcome != Outcome::Direct);
    let first_direct = of(Outcome::Direct).map(|attempt| attempt.end).min();
    Decoded {
        first_direct: first_direct.expect("some flow directly").saturating_duration_since(kill),
        last_other: others
            .map(|attempt| attempt.begin.saturating_duration_since(kill))
            .max()
            .unwrap_or_default(),
        long_ended,
        relayed: of(Outcome::Relayed).count(),
        direct: of(Outcome::Direct).count(),
        cut: of(Outcome::Cut).count(),
        hung: of(Outcome::Hung).count(),
    }
}

#[apply(both_families)]
fn new_connections_flow_directly_within_100_ms_and_none_hangs(family: Family) {
    let lab = lab();
    let backend = Backend::start(&lab.backend, (family.vip(), PORT).into(), echo);
    for hook in hooks() {
        assert_good_deaths(&lab, family, hook, &backend);
        for _ in 0..10 {
            assert!(flows_directly(&lab, &backend, family), "{hook}: and so it stays");
        }
        cleanup(&lab.node);
    }
}

/// What the process's sockets say at their end must not need the node's routing: it is for the
/// node's own address here, and the node's firewall has never heard of the connections.
#[apply(both_families)]
fn no_connection_hangs_on_a_node_that_forwards_nothing(family: Family) {
    let lab = lab();
    for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        lab.node.sysctl(key, "0").expect("root may set it");
    }
    let mut nft = lab.node.command("nft");
    nft.arg(FIREWALL);
    output_of(nft);
    let backend = Backend::start(&lab.node, (family.node(), PORT).into(), echo);
    for hook in hooks() {
        assert_good_deaths(&lab, family, hook, &backend);
        cleanup(&lab.node);
    }
}

const FIREWALL: &str = "
table inet firewall {
    chain forward { type filter hook forward priority 0; policy drop; }
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        ct state invalid drop
        iifname lo accept
        meta l4proto { icmp, icmpv6 } accept
        tcp dport 80 accept
    }
}";

/// Lets Foreword die several times, and judges the median of the deaths.
fn assert_good_deaths(lab: &Lab, family: Family, hook: &str, backend: &Backend) {
    let mut deaths: Vec<_> = (0..DEATHS)
        .map(|_| {
            let foreword = FOREWORD.attach(&lab.node, &format!("{FLAGS} --hook {hook}"));
            die(lab, family, backend.address(), foreword)
        })
        .collect();
    for death in &deaths {
        say(&format!("death {family:?} {hook}: {death}"));
        assert!(death.relayed >= RELAYED_BEFORE, "{hook}: it has served before: {death:?}");
        assert_eq!(death.hung, 0, "{hook}: {death:?}");
        assert!(death.long_ended < HANGS, "{hook}: {death:?}");
    }
    deaths.sort_by_key(|death| death.first_direct);
    let median = &deaths[DEATHS / 2];
    assert!(median.first_direct <= AT_ONCE, "{hook}: {deaths:#?}");
    deaths.sort_by_key(|death| death.last_other);
    let median = &deaths[DEATHS / 2];
    assert!(median.last_other <= AT_ONCE, "{hook}: {deaths:#?}");
}

#[apply(lab_test)]
fn nothing_remains_after_cleanup() {
    for hook in hooks() {
        assert_swept(&format!("{EVERYTHING} --hook {hook}"), |lab| cleanup(&lab.node));
    }
}

#[apply(lab_test)]
fn nothing_remains_after_the_next_start() {
    for hook in hooks() {
        assert_swept(&format!("{EVERYTHING} --hook {hook}"), |lab| {
            let mut foreword = FOREWORD.attach(&lab.node, FLAGS);
            assert_eq!(foreword.terminate().expect("it ends").code(), Some(0));
        });
    }
}

/// Kills an instance with an open connection, lets `sweep` run, and looks for what is left.
fn assert_swept(flags: &str, sweep: impl Fn(&Lab)) {
    let lab = lab();
    let backends = echoes(&lab);
    let before = NodeState::of(&lab.node);
    let (mut foreword, footprint) = attach_and_serve(&lab, &backends, flags);
    let open = Client::connect(&lab.client, Family::V4.lb(), backends[0].address());
    foreword.kill().expect("it runs");
    sweep(&lab);
    footprint.assert_gone(&lab.node);
    before.assert_restored(&lab.node);
    drop(open);
}

/// Right before each call that changes something in the kernel.
#[apply(lab_test)]
fn nothing_remains_after_death_during_the_start() {
    with_own_bpffs(die_at_each_call);
}

fn die_at_each_call() {
    const CALLS: [Call; 3] =
        [(libc::SYS_bpf, "bpf"), (libc::SYS_mkdir, "mkdir"), (libc::SYS_sendto, "sendto")];
    let lab = lab();
    let before = NodeState::of(&lab.node);
    let empty = NodeState::glance(&lab.node);
    let mut left = Vec::new();
    for (number, hook) in (0..).zip(hooks().iter().cycle()) {
        let (during, consequence) = (During::Start, Consequence::Death);
        let fault = Fault { during, calls: &CALLS, number, consequence };
        let flags = format!("attach {EVERYTHING} --hook {hook}");
        let flags: Vec<_> = flags.split_whitespace().collect();
        let ended = fault::run(&lab.node, FOREWORD.path(), &flags, fault, |_| {});
        cleanup(&lab.node);
        let Some(call) = ended.failed else {
            say(&format!("death during the start: {number} times"));
            break;
        };
        let which = |what| format!("{hook}: before call {number}, {call}: {what}");
        left.extend(left_by(ended.pid, &lab.node, &empty).into_iter().map(which));
    }
    assert!(left.is_empty(), "{left:#?}");
    before.assert_restored(&lab.node);
}
