//! SYNs on the wire, from an untrusted source, to a port whose rule requires a header: the host,
//! which listens on that port, must never answer.
//!
//! The same SYNs are sent before Foreword starts, and most are answered then, so the silence later
//! is Foreword's doing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Stdio;
use std::time::{Duration, Instant};

use netlab::{Family, Foreword, Lab, Netns};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};

use crate::FOREWORD;
use crate::campaign::hex;
use crate::facts::FourTuple;
use crate::kernel::Kernel;
use crate::node::{LINK_ADDRESS, lab};
use crate::parse::{Parsed, parse};
use crate::rng::Rng;
use crate::wrapped_syn::{WrappedSyn, kind, wrapped_syn};

/// The rule's port and one without a rule; the host listens on both.
const PORT: u16 = 80;
const WITNESS_PORT: u16 = 81;
/// Each SYN has a source port of its own, from here on.
const FIRST_SOURCE_PORT: u16 = 20_000;
/// How many SYNs there are in each family.
const SYNS: u16 = 3000;
const SEED: u64 = 0x0717;
/// A source that looks like the end of an Ethernet header and the start of an IPv6 header with UDP,
/// if a program mistakes the IP header for the start of the frame.
const DECOY: Ipv6Addr = Ipv6Addr::new(0x2001, 0x0db8, 0x86dd, 0, 0, 0, 0x1100, 3);
const TIMEOUT: Duration = Duration::from_secs(20);

/// Servers on the node itself, and the client's end of the cable.
struct Wire {
    listeners: Vec<TcpListener>,
    cable: OwnedFd,
    wrapped_syns: Vec<(Family, Vec<WrappedSyn>)>,
    witnesses: u16,
    /// Whether frames are sent so that their headers lie in page fragments.
    is_paged: bool,
    lab: Lab,
}

impl Wire {
    fn new(is_paged: bool) -> Self {
        let lab = lab();
        let decoy = IpAddr::V6(DECOY);
        lab.client.add_spare_address("eth0", decoy, 128).expect("root may");
        lab.node.ip(&format!("-6 route add {DECOY} dev eth0")).expect("root may");
        let ports = [PORT, WITNESS_PORT].map(|port| SocketAddr::from(([0_u16; 8], port)));
        let listeners = lab.node.run(|| ports.map(|it| TcpListener::bind(it).expect("it is free")));
        for listener in &listeners {
            listener.set_nonblocking(true).expect("any socket can be");
        }
        let cable = lab.client.run(open_cable);
        let wrapped_syns = Family::BOTH.map(|family| (family, wrapped_syns(family)));
        Self {
            listeners: listeners.into(),
            cable,
            wrapped_syns: wrapped_syns.into(),
            witnesses: 0,
            is_paged,
            lab,
        }
    }

    /// Sends all SYNs, and returns which ones the host answered, by family and source port.
    fn send(&mut self) -> BTreeSet<(bool, u16)> {
        let mut answered = BTreeSet::new();
        let wrapped_syns = self.wrapped_syns.iter().flat_map(|(_, wrapped_syns)| wrapped_syns);
        if self.is_paged {
            let frames = wrapped_syns.flat_map(|wrapped_syn| &wrapped_syn.frames);
            self.put_in_pages(&frames.map(|frame| hex(frame) + "\n").collect::<String>());
            self.take(&mut answered);
        } else {
            for wrapped_syn in wrapped_syns {
                wrapped_syn.frames.iter().for_each(|frame| self.put(frame));
                self.take(&mut answered);
            }
        }
        // A last SYN in each family that is answered, so that no earlier answer can just be late.
        for family in Family::BOTH {
            self.witnesses += 1;
            let source_port = FIRST_SOURCE_PORT + SYNS + self.witnesses;
            let witness = plain(family, source_port, WITNESS_PORT);
            let deadline = Instant::now() + TIMEOUT;
            // While a neighbour is being resolved, answers can be lost.
            while !answered.contains(&(family == Family::V4, source_port)) {
                assert!(Instant::now() < deadline, "the witness of {family:?} is not answered");
                self.put(&witness);
                std::thread::sleep(Duration::from_millis(20));
                self.take(&mut answered);
            }
        }
        answered.retain(|(_, port)| *port < FIRST_SOURCE_PORT + SYNS);
        answered
    }

    fn put(&self, frame: &[u8]) {
        let sent = loop {
            match send(self.cable.as_raw_fd(), frame, MsgFlags::empty()) {
                Err(Errno::ENOBUFS | Errno::EAGAIN) => std::thread::yield_now(),
                sent => break sent,
            }
        };
        assert_eq!(sent, Ok(frame.len()));
    }

    /// Sends frames of which all but the Ethernet header is in page fragments, as from some
    /// drivers.
    fn put_in_pages(&self, lines: &str) {
        let mut python = self.lab.client.command("python3");
        python.args(["-c", include_str!("paged.py"), "eth0"]).stdin(Stdio::piped());
        let mut python = python.spawn().expect("python3 is installed");
        let mut stdin = python.stdin.take().expect("it is a pipe");
        stdin.write_all(lines.as_bytes()).expect("it reads to the end");
        drop(stdin);
        assert!(python.wait().expect("it is a child of ours").success());
    }

    /// Collects the SYN-ACKs that have arrived.
    fn take(&self, answered: &mut BTreeSet<(bool, u16)>) {
        let mut frame = [0; 2048];
        while let Ok(length) = recv(self.cable.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
            if let Parsed::Segment(segment) = parse(&frame[..length])
                && segment.flags.is_some_and(|flags| flags & 0x12 == 0x12)
            {
                let tuple = segment.tuple;
                answered.insert((tuple.source.is_ipv4(), tuple.destination_port));
            }
        }
    }

    /// Asserts that the host answers no SYN now.
    #[track_caller]
    fn assert_silent(&mut self, what: &str) {
        let answered = self.send();
        let mut all = self.wrapped_syns.iter().flat_map(|(family, wrapped_syns)| {
            wrapped_syns.iter().enumerate().map(move |(number, wrapped_syn)| {
                ((*family == Family::V4, FIRST_SOURCE_PORT + number as u16), wrapped_syn)
            })
        });
        if let Some((_, wrapped_syn)) = all.find(|(key, _)| answered.contains(key)) {
            panic!("{what}: {} answered, such as {wrapped_syn}", answered.len());
        }
        for listener in &self.listeners {
            let accepted = listener.accept().map_err(|error| error.kind());
            assert!(matches!(accepted, Err(ErrorKind::WouldBlock)), "{what}: {accepted:?}");
        }
    }

    /// Asserts that SYNs of each kind are answered while no process steers.
    fn assert_answered(&mut self) {
        let answered = self.send();
        let mut kinds = BTreeMap::<_, (usize, usize)>::new();
        for (family, wrapped_syns) in &self.wrapped_syns {
            for (number, wrapped_syn) in wrapped_syns.iter().enumerate() {
                let key = (*family == Family::V4, FIRST_SOURCE_PORT + number as u16);
                let (count, of) = kinds.entry((key.0, kind(wrapped_syn))).or_default();
                *of += 1;
                *count += usize::from(answered.contains(&key));
            }
        }
        crate::print_line(&format!("answered by the host: {kinds:?}"));
        for (kind, (count, of)) in kinds {
            assert!(count * 10 > of, "of {of} {kind:?} only {count} are answered by anybody");
        }
    }
}

fn wrapped_syns(family: Family) -> Vec<WrappedSyn> {
    let one = |number| {
        let mut rng = Rng::new(SEED, u64::from(number));
        let mut tuple = four_tuple(family, FIRST_SOURCE_PORT + number, PORT);
        if family == Family::V6 && rng.one_in(4) {
            tuple.source = DECOY.into();
        }
        wrapped_syn(&mut rng, family, tuple, LINK_ADDRESS)
    };
    (0..SYNS).map(one).collect()
}

fn four_tuple(family: Family, source_port: u16, destination_port: u16) -> FourTuple {
    FourTuple {
        source: family.stranger(),
        source_port,
        destination: family.node(),
        destination_port,
    }
}

fn plain(family: Family, source_port: u16, port: u16) -> Vec<u8> {
    crate::wrapped_syn::plain(four_tuple(family, source_port, port), LINK_ADDRESS)
}

/// A socket that sends and receives frames as they are on the client's end of the cable.
fn open_cable() -> OwnedFd {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let cable = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
        .expect("root can open one");
    let mut links = getifaddrs().expect("the interfaces can be listed");
    let link = links.find_map(|it| {
        (it.interface_name == "eth0").then_some(it.address?)?.as_link_addr().copied()
    });
    bind(cable.as_raw_fd(), &link.expect("eth0 is there")).expect("it can be bound to");
    setsockopt(&cable, sockopt::RcvBufForce, &(64 << 20)).expect("root may");
    cable
}

const RULE: &str = "eth0 --port 80 --inbound require --trust 10.77.1.2,fd77:1::2 --outbound none";

fn attach(node: &Netns, more: &str) -> Foreword {
    FOREWORD.attach(node, &format!("{RULE} {more}"))
}

/// For each way to attach the guard.
pub fn the_host_never_answers(hook: &str, is_paged: bool) {
    let mut wire = Wire::new(is_paged);
    wire.assert_answered();
    for guard in ["tc", "generic", "native"] {
        let what = format!("--hook {hook} --guard-hook {guard}");
        let foreword = attach(&wire.lab.node, &what);
        wire.assert_silent(&what);
        // No SYN got so far that there was an answer to drop.
        let stopped = Kernel::of(&foreword).dropped_for("unsteered-answer");
        assert_eq!(stopped, 0, "{what}: the host's stack was reached");
        drop(foreword);
    }
    // Now that no process steers, SYNs are answered again.
    wire.assert_answered();
}

/// A hold keeps the port closed after its process has been killed.
pub fn a_hold_never_lets_the_host_answer(hook: &str) {
    let mut wire = Wire::new(false);
    let mut foreword = attach(&wire.lab.node, &format!("--hook {hook} --when-absent drop"));
    foreword.kill().expect("it runs");
    wire.assert_silent(&format!("--hook {hook}, held"));
    let mut cleanup = wire.lab.node.command(env!("CARGO_BIN_EXE_foreword"));
    let output = cleanup.arg("cleanup").output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    wire.assert_answered();
}
