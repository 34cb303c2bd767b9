//! A receiver in a lab of its own, to be asked case by case.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use netlab::{
    Backend, Client, Daemon, End, Family, Foreword, Lab, PATIENCE, PORT, REQUIRE, Scratch, Served,
    lab, output_of, wait_until,
};

use crate::FOREWORD;
use crate::answer::{Answer, Ends, PAGE, PAYLOAD, Told, from_page, from_upstream};
use crate::cases::Case;

/// Between two segments: enough for the receiver to read the first one on its own.
const GAP: Duration = Duration::from_millis(4);

/// How long something that is expected to wait for more is watched.
const WATCH: Duration = Duration::from_millis(400);

/// How long anything else may take to be answered: less than Foreword's header deadline of 5 s.
const DEADLINE: Duration = Duration::from_secs(3);

/// How many splits are tried at a time.
const AT_A_TIME: usize = 16;

/// Where HAProxy finds the upstream, at the loopback address of the backend's namespace.
const BEHIND: u16 = 8080;

/// A running receiver at the VIP of both families.
///
/// The fields are dropped in their order: programs before the namespaces that they run in.
pub struct Subject {
    /// Name and version.
    pub name: String,
    _foreword: Option<Foreword>,
    _server: Option<Daemon>,
    upstreams: Vec<Backend>,
    _scratch: Scratch,
    lab: Lab,
    read: fn(&[u8], Ends) -> Told,
}

impl Subject {
    /// Foreword on the node, and an upstream at the VIP that sends back what it gets.
    pub fn foreword() -> Self {
        let lab = lab();
        let upstreams = mirrors(&lab, |family| SocketAddr::new(family.vip(), PORT));
        let attached =
            FOREWORD.attach(&lab.node, &format!("eth0 --port {PORT} {REQUIRE} --outbound v2"));
        Self {
            name: "Foreword".to_owned(),
            _foreword: Some(attached),
            _server: None,
            upstreams,
            _scratch: Scratch::new(),
            lab,
            read: from_upstream,
        }
    }

    /// HAProxy at the VIP, in TCP mode, with the same upstream behind it.
    pub fn haproxy() -> Self {
        let (lab, scratch) = (lab(), Scratch::new());
        let upstreams = mirrors(&lab, |family| SocketAddr::new(family.loopback(), BEHIND));
        let listen = |family: Family| {
            let vip = SocketAddr::new(family.vip(), PORT);
            let upstream = SocketAddr::new(family.loopback(), BEHIND);
            format!(
                "listen {family:?}\n bind {vip} accept-proxy\n server up {upstream} send-proxy-v2\n"
            )
        };
        let listeners = Family::BOTH.map(listen).concat();
        let configuration = scratch.write(
            "haproxy.cfg",
            &format!(
                "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n \
                 timeout server 30s\n{listeners}"
            ),
        );
        let server = serve(&lab, "haproxy", &["-db", "-f", &configuration.to_string_lossy()]);
        Self {
            name: format!("HAProxy {}", version("haproxy", "version ")),
            _foreword: None,
            _server: Some(server),
            upstreams,
            _scratch: scratch,
            lab,
            read: from_upstream,
        }
    }

    /// nginx at the VIP, answering with the addresses that it knows.
    pub fn nginx() -> Self {
        let (lab, scratch) = (lab(), Scratch::new());
        let [v4, v6] = Family::BOTH.map(|family| SocketAddr::new(family.vip(), PORT));
        let configuration = scratch.write(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; pid nginx.pid; error_log stderr crit;\n\
                 events {{}}\nhttp {{ access_log off; server {{ listen {v4} proxy_protocol; \
                 listen {v6} proxy_protocol; return 200 \"{PAGE}\\n\"; }} }}\n"
            ),
        );
        let (folder, file) = (scratch.path().to_string_lossy(), configuration.to_string_lossy());
        let server = serve(&lab, "nginx", &["-p", &folder, "-c", &file]);
        Self {
            name: format!("nginx {}", version("nginx", "nginx/")),
            _foreword: None,
            _server: Some(server),
            upstreams: Vec::new(),
            _scratch: scratch,
            lab,
            read: from_page,
        }
    }

    /// Sends the case in one segment, or cut in front of byte `split`.
    pub fn ask(&self, family: Family, case: &Case, split: Option<usize>) -> Told {
        let vip = SocketAddr::new(family.vip(), PORT);
        let mut client = Client::connect(&self.lab.client, family.lb(), vip);
        let real = Ends { client: client.address(), destination: vip };
        let sent = case.sent();
        let (first, second) = sent.split_at(split.unwrap_or(sent.len()));
        client.offer(first);
        if !second.is_empty() {
            sleep(GAP);
            client.offer(second);
        }
        let deadline = if case.expected == Answer::Waits { WATCH } else { DEADLINE };
        let reply = client.rest_within(deadline);
        match (reply.bytes.as_slice(), reply.end) {
            ([], End::Silence) => (Answer::Waits, Vec::new()),
            ([], _) => (Answer::Refused, Vec::new()),
            (bytes, _) => (self.read)(bytes, real),
        }
    }

    /// Tries every split until one is told something other than `expected`, and gives back where
    /// that was cut, and what it was told.
    pub fn find_split(
        &self,
        family: Family,
        case: &Case,
        expected: &Told,
    ) -> Option<(usize, Told)> {
        let splits = case.splits();
        let next = AtomicUsize::new(splits.start);
        let found = Mutex::new(None);
        let search = || {
            loop {
                let split = next.fetch_add(1, Ordering::Relaxed);
                if split >= splits.end {
                    return;
                }
                let told = self.ask(family, case, Some(split));
                if told != *expected {
                    next.store(splits.end, Ordering::Relaxed);
                    *found.lock().expect("no thread panics with the lock") = Some((split, told));
                }
            }
        };
        thread::scope(|scope| (0..AT_A_TIME).for_each(|_| drop(scope.spawn(search))));
        found.into_inner().expect("no thread panics with the lock")
    }

    /// How many connections this family's upstream has had.
    pub fn upstream_connections(&self, family: Family) -> usize {
        let index = usize::from(family == Family::V6);
        self.upstreams[index].connections()
    }
}

/// For each family an upstream that sends back what it gets up to the payload's end, and closes.
fn mirrors(lab: &Lab, address: impl Fn(Family) -> SocketAddr) -> Vec<Backend> {
    let start = |family| Backend::start(&lab.backend, address(family), mirror);
    Family::BOTH.map(start).into()
}

fn mirror(served: &mut Served) {
    let mut all = Vec::new();
    while let Some(bytes) = served.read() {
        all.extend(bytes);
        if all.ends_with(PAYLOAD) {
            return served.send(&all);
        }
    }
}

/// Starts a server in the backend's namespace, and waits until both VIPs accept connections.
fn serve(lab: &Lab, program: &str, arguments: &[&str]) -> Daemon {
    let mut command = lab.backend.command(program);
    command.args(arguments);
    let mut daemon = Daemon::start(program, command).expect("the program is installed");
    let accepts = |family: Family| {
        let vip = SocketAddr::new(family.vip(), PORT);
        Client::try_connect(&lab.client, family.lb(), vip).is_ok()
    };
    let both_accept = || Family::BOTH.into_iter().all(accepts);
    wait_until(PATIENCE, program, || both_accept() || !daemon.is_running()).expect("it starts");
    assert!(daemon.is_running(), "{program}: {}", daemon.output());
    daemon
}

/// The three numbers of a program's version, which it writes behind `mark`.
fn version(program: &str, mark: &str) -> String {
    // nginx writes it to stderr.
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" -v 2>&1", program]);
    let output = output_of(command);
    let (_, rest) = output.split_once(mark).expect("the version is there");
    rest.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default().to_owned()
}
