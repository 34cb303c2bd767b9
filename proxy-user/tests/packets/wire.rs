//! First packets on the wire, from a source that nobody trusts, to a port whose rule requires a
//! header: the host, which does listen there, must never answer.
//!
//! The same packets are sent before where nobody steers, and most are answered: what is not answered
//! later would have been.

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
use crate::dice::Dice;
use crate::kernel::Kernel;
use crate::openings::{Ends, Opening, kind, opening};
use crate::reading::{Reading, read};
use crate::stage::{LINK_ADDRESS, lab};

/// The port that the rule is for, and one without a rule: the host listens at both.
const PORT: u16 = 80;
const WITNESS_PORT: u16 = 81;
/// Each opening has a port of its own, from here on.
const FIRST_SOURCE_PORT: u16 = 20_000;
/// How many there are in each family.
const OPENINGS: u16 = 3000;
const SEED: u64 = 0x0717;
/// A source that passes for the end of an Ethernet header and the beginning of an IPv6 one, of UDP, if
/// a program takes the IP header for the frame's beginning.
const DECOY: Ipv6Addr = Ipv6Addr::new(0x2001, 0x0db8, 0x86dd, 0, 0, 0, 0x1100, 3);
const PATIENCE: Duration = Duration::from_secs(20);

/// The host's own servers on the node, and the client's cable.
struct Wire {
    listeners: Vec<TcpListener>,
    cable: OwnedFd,
    openings: Vec<(Family, Vec<Opening>)>,
    witnesses: u16,
    /// Whether frames are sent so that the kernel has their headers in pages.
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
        let openings = Family::BOTH.map(|family| (family, openings(family)));
        Self {
            listeners: listeners.into(),
            cable,
            openings: openings.into(),
            witnesses: 0,
            is_paged,
            lab,
        }
    }

    /// Sends all of them, and says which the host has answered, by family and source port.
    fn send(&mut self) -> BTreeSet<(bool, u16)> {
        let mut answered = BTreeSet::new();
        let openings = self.openings.iter().flat_map(|(_, openings)| openings);
        if self.is_paged {
            let frames = openings.flat_map(|opening| &opening.frames);
            self.put_in_pages(&frames.map(|frame| hex(frame) + "\n").collect::<String>());
            self.take(&mut answered);
        } else {
            for opening in openings {
                opening.frames.iter().for_each(|frame| self.put(frame));
                self.take(&mut answered);
            }
        }
        // Answered behind them all, so that no answer can have been merely late.
        for family in Family::BOTH {
            self.witnesses += 1;
            let source_port = FIRST_SOURCE_PORT + OPENINGS + self.witnesses;
            let witness = plain(family, source_port, WITNESS_PORT);
            let deadline = Instant::now() + PATIENCE;
            // A neighbour that has to be asked for first can cost an answer.
            while !answered.contains(&(family == Family::V4, source_port)) {
                assert!(Instant::now() < deadline, "the witness of {family:?} is not answered");
                self.put(&witness);
                std::thread::sleep(Duration::from_millis(20));
                self.take(&mut answered);
            }
        }
        answered.retain(|(_, port)| *port < FIRST_SOURCE_PORT + OPENINGS);
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

    /// Sends frames that lie in pages but for their Ethernet header, as some drivers deliver them.
    fn put_in_pages(&self, lines: &str) {
        let mut python = self.lab.client.command("python3");
        python.args(["-c", include_str!("paged.py"), "eth0"]).stdin(Stdio::piped());
        let mut python = python.spawn().expect("python3 is installed");
        let mut stdin = python.stdin.take().expect("it is a pipe");
        stdin.write_all(lines.as_bytes()).expect("it reads to the end");
        drop(stdin);
        assert!(python.wait().expect("it is a child of ours").success());
    }

    /// Notes the SYN-ACKs that have come.
    fn take(&self, answered: &mut BTreeSet<(bool, u16)>) {
        let mut frame = [0; 2048];
        while let Ok(length) = recv(self.cable.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
            if let Reading::Segment(segment) = read(&frame[..length])
                && segment.flags.is_some_and(|flags| flags & 0x12 == 0x12)
            {
                let tuple = segment.tuple;
                answered.insert((tuple.source.is_ipv4(), tuple.destination_port));
            }
        }
    }

    /// Asserts that the host answers none of them now.
    #[track_caller]
    fn assert_silent(&mut self, what: &str) {
        let answered = self.send();
        let mut all = self.openings.iter().flat_map(|(family, openings)| {
            openings.iter().enumerate().map(move |(number, opening)| {
                ((*family == Family::V4, FIRST_SOURCE_PORT + number as u16), opening)
            })
        });
        if let Some((_, opening)) = all.find(|(key, _)| answered.contains(key)) {
            panic!("{what}: {} answered, such as {opening}", answered.len());
        }
        for listener in &self.listeners {
            let accepted = listener.accept().map_err(|error| error.kind());
            assert!(matches!(accepted, Err(ErrorKind::WouldBlock)), "{what}: {accepted:?}");
        }
    }

    /// Asserts that openings of each kind are answered where nobody steers.
    fn assert_answered(&mut self) {
        let answered = self.send();
        let mut kinds = BTreeMap::<_, (usize, usize)>::new();
        for (family, openings) in &self.openings {
            for (number, opening) in openings.iter().enumerate() {
                let key = (*family == Family::V4, FIRST_SOURCE_PORT + number as u16);
                let (count, of) = kinds.entry((key.0, kind(opening))).or_default();
                *of += 1;
                *count += usize::from(answered.contains(&key));
            }
        }
        crate::note(&format!("answered by the host: {kinds:?}"));
        for (kind, (count, of)) in kinds {
            assert!(count * 10 > of, "of {of} {kind:?} only {count} are answered by anybody");
        }
    }
}

fn openings(family: Family) -> Vec<Opening> {
    let one = |number| {
        let mut dice = Dice::new(SEED, u64::from(number));
        let mut ends = ends(family, FIRST_SOURCE_PORT + number, PORT);
        if family == Family::V6 && dice.one_in(4) {
            ends.source = DECOY.into();
        }
        opening(&mut dice, family, ends, LINK_ADDRESS)
    };
    (0..OPENINGS).map(one).collect()
}

fn ends(family: Family, source_port: u16, port: u16) -> Ends {
    Ends { source: family.stranger(), source_port, destination: family.node(), port }
}

fn plain(family: Family, source_port: u16, port: u16) -> Vec<u8> {
    crate::openings::plain(ends(family, source_port, port), LINK_ADDRESS)
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

/// In each way to attach, and wherever the guard stands.
pub fn the_host_never_answers(hook: &str, is_paged: bool) {
    let mut wire = Wire::new(is_paged);
    wire.assert_answered();
    for guard in ["tc", "generic", "native"] {
        let what = format!("--hook {hook} --guard-hook {guard}");
        let foreword = attach(&wire.lab.node, &what);
        wire.assert_silent(&what);
        // Nothing has come so far that there was an answer to stop.
        let stopped = Kernel::of(&foreword).dropped_for("unsteered-answer");
        assert_eq!(stopped, 0, "{what}: the host's stack was reached");
        drop(foreword);
    }
    // Now that nobody steers any more, the same is answered again.
    wire.assert_answered();
}

/// A hold keeps the port as closed when its process has been killed.
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
