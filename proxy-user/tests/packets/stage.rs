//! The real Foreword on a real node, with sockets in every state that a verdict depends on, and what
//! there is to be known of it.

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
use crate::kernel::Kernel;
use crate::setups::{FLOW_PORTS, LIMITED_PORTS, exhausted_sources};
use crate::world::{Mode, Setup, Tuple, World};

/// How long anything here may take, on a machine that is busy with other labs.
const PATIENCE: Duration = Duration::from_secs(20);

/// The protected interface's link-layer address, so that a frame written down is good for every run.
pub const LINK_ADDRESS: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// Connections of the test's own come from here plus the port that they go to.
const CLIENT_PORT: u16 = 41_000;
/// The port that the node's own socket waits at.
const WAITING_PORT: u16 = 42_000;

/// Dropped in the order of the fields: connections, Foreword, then the namespaces.
pub struct Stage {
    pub world: World,
    pub kernel: Kernel,
    flows: Vec<TcpStream>,
    _waiting: Vec<Socket>,
    _folder: TempDir,
    pub foreword: Foreword,
    pub lab: Lab,
}

impl Stage {
    /// Starts Foreword by the setup's rules, opens the connections, and takes away the rules that are
    /// to be retired.
    pub fn set(setup: Setup) -> Self {
        let lab = lab();
        serve(&lab);
        let folder = TempDir::new().expect("a folder can be made");
        let config = folder.path().join("config.yaml");
        fs::write(&config, setup.yaml(true)).expect("a file of ours can be written");
        let mut foreword = Foreword::run(&lab.node, FOREWORD.path(), &config)
            .unwrap_or_else(|error| panic!("{}: {error:#}\n{}", setup.name, setup.yaml(true)));
        let flows = open_flows(&lab, &setup);
        if setup.rules.iter().any(|rule| rule.is_retired) {
            // Renamed into place, so that nobody reads half of it.
            let next = folder.path().join("next");
            fs::write(&next, setup.yaml(false)).expect("a file of ours can be written");
            fs::rename(next, &config).expect("it can be renamed");
            foreword
                .wait_for_line("reloaded", PATIENCE)
                .or_else(|_| said(&foreword, "reloaded"))
                .unwrap_or_else(|error| panic!("{}: {error:#}", setup.name));
        }
        let (waiting, waiting_sockets) = wait_for_answers(&lab, &setup);
        let mut kernel = Kernel::of(&foreword);
        let exhausted = exhaust(&mut kernel, &setup);
        let tuples = flows.iter().map(|(tuple, _)| *tuple).collect();
        let world = lab.node.run(|| World {
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
        Self { world, kernel, flows, _waiting: waiting_sockets, _folder: folder, foreword, lab }
    }

    /// Asserts that the connections have lived all the while: what was expected of their packets was
    /// right.
    pub fn assert_flows_live(&mut self) {
        for flow in &mut self.flows {
            let mut back = [0];
            let echoed = flow.write_all(b"!").and_then(|()| flow.read_exact(&mut back));
            assert!(echoed.is_ok(), "{flow:?}: {echoed:?}\n{}", self.foreword.output());
        }
    }
}

fn said(foreword: &Foreword, word: &str) -> anyhow::Result<String> {
    wait_until(PATIENCE, word, || foreword.output().contains(word))?;
    Ok(foreword.output())
}

/// A lab with link-layer addresses of ours.
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

/// Echoes, behind the node, at each port that a connection of the test's goes to.
fn serve(lab: &Lab) {
    for (family, port) in Family::BOTH.into_iter().flat_map(|it| FLOW_PORTS.map(|port| (it, port)))
    {
        let address = SocketAddr::new(family.vip(), port);
        let listener = lab.backend.run(|| TcpListener::bind(address)).expect("the port is free");
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut octets = [0; 256];
                    while let Ok(length @ 1..) = stream.read(&mut octets) {
                        let _ = stream.write_all(&octets[..length]);
                    }
                });
            }
        });
    }
}

/// One connection in each family through each rule that is to have one, seen to be served.
fn open_flows(lab: &Lab, setup: &Setup) -> Vec<(Tuple, TcpStream)> {
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
        (Tuple { source, source_port, destination, destination_port }, stream)
    })
    .collect()
}

fn connect(from: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(from), Type::STREAM, None).expect("a socket");
    socket.bind(&from.into()).expect("the port is free");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero is valid");
    socket.connect_timeout(&to.into(), PATIENCE).unwrap_or_else(|error| panic!("{to}: {error}"));
    socket.into()
}

/// Sockets of the node's own that wait for an answer from where nobody is. The neighbour is written
/// into its table, so that the kernel does not find out.
fn wait_for_answers(lab: &Lab, setup: &Setup) -> (HashSet<Tuple>, Vec<Socket>) {
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
        (Tuple { source, source_port, destination: nobody, destination_port: port }, socket)
    });
    let (tuples, sockets): (Vec<_>, _) = waiting.into_iter().unzip();
    (tuples.into_iter().collect(), sockets)
}

/// Writes for each rule with a limit that some sources are over it for as long as the test lasts.
fn exhaust(kernel: &mut Kernel, setup: &Setup) -> HashSet<(u16, IpAddr)> {
    let limited = setup.rules.iter().filter(|rule| LIMITED_PORTS.contains(&rule.port));
    let both = limited.flat_map(|rule| exhausted_sources().map(|source| (rule.port, source)));
    both.inspect(|(port, source)| kernel.exhaust(*port, *source)).collect()
}
