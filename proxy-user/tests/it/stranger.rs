//! Somebody else's program on an interface, under a name of somebody else's. It lets everything by.
//!
//! Made of a copy of our own object, in which one name is written over with another as long.

use std::io::ErrorKind;
use std::mem;

use aya::Ebpf;
use aya::programs::tc::{NlOptions, TcAttachOptions, qdisc_add_clsact};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode};
use netlab::Netns;
use proxy_common::names::{GUARD, STEER};

/// The object that is part of the binary, and of this one: the tests also run where nothing was
/// built.
const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/foreword-ebpf"));

/// Programs under another name, attached as long as the value lives, on clsact as long as the
/// interface does.
pub struct Stranger {
    _object: Ebpf,
}

/// Where it is attached to an interface's ingress.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Before all others.
    TcxFirst,
    /// Behind all others.
    TcxLast,
    /// With this priority.
    Clsact(u16),
}

impl Stranger {
    /// At TC. The name has 14 characters.
    pub fn at_tc(netns: &Netns, interface: &str, name: &str, place: Place) -> Self {
        let mut object = load_as(STEER, name);
        let program = object.program_mut(name).expect("a program of that name");
        let program: &mut SchedClassifier = program.try_into().expect("of this type");
        persist(|| program.load());
        let options = match place {
            Place::TcxFirst => TcAttachOptions::TcxOrder(LinkOrder::first()),
            Place::TcxLast => TcAttachOptions::TcxOrder(LinkOrder::last()),
            Place::Clsact(priority) => {
                TcAttachOptions::Netlink(NlOptions { priority, ..NlOptions::default() })
            }
        };
        // Interfaces are looked up by name, in the namespace of whoever asks.
        netns.run(|| {
            if matches!(place, Place::Clsact(_)) {
                let _ = qdisc_add_clsact(interface);
            }
            let id = program.attach_with_options(interface, TcAttachType::Ingress, options);
            let id = id.expect("it attaches");
            if matches!(place, Place::Clsact(_)) {
                // It would be removed from whatever has its index in our own namespace.
                mem::forget(program.take_link(id).expect("it was attached"));
            }
        });
        Self { _object: object }
    }

    /// In the kernel's generic XDP. The name has 14 characters.
    pub fn at_xdp(netns: &Netns, interface: &str, name: &str) -> Self {
        let mut object = load_as(GUARD, name);
        let program = object.program_mut(name).expect("a program of that name");
        let program: &mut Xdp = program.try_into().expect("of this type");
        persist(|| program.load());
        netns.run(|| program.attach(interface, XdpMode::Skb).map(drop).expect("it attaches"));
        Self { _object: object }
    }
}

/// The verifier gives up on a long program when a signal comes in between.
pub fn persist(mut load: impl FnMut() -> Result<(), ProgramError>) {
    let mut result = load();
    for _ in 0..5 {
        match &result {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.kind() == ErrorKind::WouldBlock =>
            {
                result = load();
            }
            _ => break,
        }
    }
    result.expect("the verifier takes it");
}

fn load_as(ours: &str, name: &str) -> Ebpf {
    assert_eq!(ours.len(), name.len(), "'{name}' is to be written over '{ours}'");
    let mut bytes = OBJECT.to_vec();
    while let Some(at) = bytes.windows(ours.len()).position(|window| window == ours.as_bytes()) {
        bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
    }
    Ebpf::load(&bytes).expect("it loads")
}
