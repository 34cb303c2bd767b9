//! Foreword on a node of the lab, with sockets in every state that a verdict depends on.

use std::collections::HashSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use netlab::header::v1;
use netlab::{Family, Foreword, Lab, wait_until};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::FOREWORD;
use crate::facts::{FourTuple, Mode, NodeFacts, Setup};
use crate::kernel::Kernel;
use crate::setups::{FLOW_PORTS, LIMITED_PORTS, exhausted_sources};

/// Time limit for everything here, on a machine that is busy with other labs.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The protected interface's link-layer address, fixed so that recorded frames stay valid.
pub const LINK_ADDRESS: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// The test's own connections come from this port plus the one that they go to.
const CLIENT_PORT: u16 = 41_000;
/// The port of the node's own socket that waits for an answer.
const WAITING_PORT: u16 = 42_000;

/// The fields are in the order in which they must be dropped: connections, Foreword, namespaces.
pub struct TestNode {
    pub facts: NodeFacts,
    pub kernel: Kernel,
    flows: Vec<TcpStream>,
    _waiting: Vec<Socket>,
    _folder: TempDir,
    pub foreword: Foreword,
    pub lab: Lab,
}

impl TestNode {
    /// Starts Foreword with the setup's rules, opens the connections, and removes the rules that
    /// are to be retired.
    pub fn start(setup: Setup) -> Self {
        let lab = lab();
        serve(&lab);
        let folder = TempDir::new().expect("a folder can be made");
        let config = folder.path().join("config.yaml");
        fs::write(&config, setup.yaml(true)).expect("a file of ours can be written");
        let mut foreword = Foreword::run(&lab.node, FOREWORD.path(), &config)
            .unwrap_or_else(|error| panic!("{}: {error:#}\n{}", setup.name, setup.yaml(true)));
        let flows = open_flows(&lab, &setup);
        if setup.rules.iter().any(|rule| rule.is_retired) {
            // Renamed into place, so that Foreword never reads half of it.
            let next = folder.path().join("next");
            fs::write(&next, setup.yaml(false)).expect("a file of ours can be written");
            fs::rename(next, &config).expect("it can be renamed");
            foreword
                .wait_for_line("reloaded", TIMEOUT)
                .or_else(|_| said(&foreword, "reloaded"))
                .unwrap_or_else(|error| panic!("{}: {error:#}", setup.name));
        }
        let (waiting, waiting_sockets) = wait_for_answers(&lab, &setup);
        let mut kernel = Kernel::of(&foreword);
        let exhausted = exhaust(&mut kernel, &setup);
        let tuples = flows.iter().map(|(tuple, _)| *tuple).collect();
        let facts = lab.node.run(|| NodeFacts {
            index: if_nametoindex("eth0").expect("it is there"),
            other_index: if_nametoindex("eth1").expect("it is there"),
            link_address: LINK_ADDRESS,
            own_mark: kernel.own_mark(),
            flows: tuples,
            waiting,
            cookies: HashSet::new(),
            exhausted,
            setup,
        });
        let flows = flows.into_iter().map(|(_, stream)| stream).collect();
        Self { facts, kernel, flows, _waiting: waiting_sockets, _folder: folder, foreword, lab }
    }

    /// Asserts that the connections are still open, so that the verdicts expected for their packets
    /// were right.
    pub fn assert_flows_live(&mut self) {
        for flow in &mut self.flows {
            let mut back = [0];
            let echoed = flow.write_all(b"!").and_then(|()| flow.read_exact(&mut back));
            assert!(echoed.is_ok(), "{flow:?}: {echoed:?}\n{}", self.foreword.output());
        }
    }
}

fn said(foreword: &Foreword, word: &str) -> anyhow::Result<String> {
    wait_until(TIMEOUT, word, || foreword.output().contains(word))?;
    Ok(foreword.output())
}

/// A lab with fixed link-layer addresses.
pub fn lab() -> Lab {
    let lab = Lab::new().expect("root can make namespaces");
    let [ours, theirs] = [LINK_ADDRESS[5], 2];
    for (netns, last) in [(&lab.node, ours), (&lab.client, theirs)] {
        netns.ip(&format!("link set eth0 address 02:00:00:00:00:{last:02x}")).expect("root may");
    }
    for netns in [&lab.node, &lab.client] {
        netns.ip("neigh flush all").expect("root may");
    }
    lab.node.sysctl("net/ipv4/tcp_syn_retries", "127").expect("root may");
    lab
}

/// Runs echo servers behind the node, on each port that the test connects to.
fn serve(lab: &Lab) {
    for (family, port) in Family::BOTH.into_iter().flat_map(|it| FLOW_PORTS.map(|port| (it, port)))
    {
        let address = SocketAddr::new(family.vip(), port);
        let listener = lab.backend.run(|| TcpListener::bind(address)).expect("the port is free");
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut bytes = [0; 256];
                    while let Ok(length @ 1..) = stream.read(&mut bytes) {
                        let _ = stream.write_all(&bytes[..length]);
                    }
                });
            }
        });
    }
}

/// Opens a connection in each family through each rule that should have one, and checks that it is
/// served.
fn open_flows(lab: &Lab, setup: &Setup) -> Vec<(FourTuple, TcpStream)> {
    let ports = FLOW_PORTS.into_iter().filter(|port| setup.rules.iter().any(|it| it.port == *port));
    let both = ports.flat_map(|port| Family::BOTH.map(|family| (family, port)));
    both.map(|(family, port)| {
        let rule = setup.rules.iter().find(|rule| rule.port == port).expect("a rule of the setup");
        let (source, to) = (family.lb(), SocketAddr::new(family.vip(), port));
        let source_port = CLIENT_PORT + port;
        let mut stream = lab.client.run(|| connect(SocketAddr::new(source, source_port), to));
        if rule.mode == Mode::Require {
            let header = v1(SocketAddr::new(source, 7), to);
            stream.write_all(&header).expect("it is open");
        }
        let mut back = [0];
        let echoed = stream.write_all(b"!").and_then(|()| stream.read_exact(&mut back));
        assert!(echoed.is_ok(), "{}: {to}: {echoed:?}", setup.name);
        let (destination, destination_port) = (to.ip(), port);
        (FourTuple { source, source_port, destination, destination_port }, stream)
    })
    .collect()
}

fn connect(from: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(from), Type::STREAM, None).expect("a socket");
    socket.bind(&from.into()).expect("the port is free");
    socket.set_read_timeout(Some(TIMEOUT)).expect("a time-out above zero is valid");
    socket.connect_timeout(&to.into(), TIMEOUT).unwrap_or_else(|error| panic!("{to}: {error}"));
    socket.into()
}

/// Opens sockets on the node that wait for an answer from a host that doesn't exist. Its neighbour
/// entry is permanent, so the kernel does not notice.
fn wait_for_answers(lab: &Lab, setup: &Setup) -> (HashSet<FourTuple>, Vec<Socket>) {
    let port = setup.rules[0].port;
    let waiting = Family::BOTH.map(|family| {
        let nobody: IpAddr = match family {
            Family::V4 => [10, 77, 2, 99].into(),
            Family::V6 => [0xfd77, 2, 0, 0, 0, 0, 0, 0x99].into(),
        };
        let neighbour = "lladdr 02:00:00:00:00:99 nud permanent dev eth1";
        lab.node.ip(&format!("neigh replace {nobody} {neighbour}")).expect("root may");
        let (source, source_port) = (family.node_back(), WAITING_PORT);
        let from = SocketAddr::new(source, source_port);
        let socket = lab.node.run(|| {
            let socket =
                Socket::new(Domain::for_address(from), Type::STREAM, None).expect("a socket");
            socket.bind(&from.into()).expect("the port is free");
            socket.set_nonblocking(true).expect("any socket can be");
            let _ = socket.connect(&SocketAddr::new(nobody, port).into());
            socket
        });
        (FourTuple { source, source_port, destination: nobody, destination_port: port }, socket)
    });
    let (tuples, sockets): (Vec<_>, _) = waiting.into_iter().unzip();
    (tuples.into_iter().collect(), sockets)
}

/// Puts some sources over the limit of each rule that has one, for as long as the test lasts.
fn exhaust(kernel: &mut Kernel, setup: &Setup) -> HashSet<(u16, IpAddr)> {
    let limited = setup.rules.iter().filter(|rule| LIMITED_PORTS.contains(&rule.port));
    let both = limited.flat_map(|rule| exhausted_sources().map(|source| (rule.port, source)));
    both.inspect(|(port, source)| kernel.exhaust(*port, *source)).collect()
}
