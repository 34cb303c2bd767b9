//! Somebody else's program on an interface: it counts what it is shown, and lets everything go on.
//!
//! Made of a second copy of our own object, which knows no listener and so takes no packet, and
//! attached as other software would attach its own.

use std::fs;

use aya::Ebpf;
use aya::maps::{Array, HashMap, PerCpuArray};
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use netlab::Netns;
use proxy_common::abi::{Node, PortKey, Rule, Stats, port_bit};
use proxy_common::maps::{NODE, RULED_PORTS, RULES, STATS};
use proxy_common::names::STEER;

use crate::stranger::persist;

/// The object that is part of the binary.
const OBJECT: &str = concat!(env!("OUT_DIR"), "/foreword-ebpf");

/// Where it stands relative to Foreword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    Before,
    Behind,
}

/// The program, for as long as the value lives.
pub struct Witness {
    object: Ebpf,
    _link: SchedClassifierLink,
}

impl Witness {
    /// Counts TCP to these ports on an interface's ingress, by `hook`: `tcx` or `clsact`.
    pub fn stand(
        netns: &Netns,
        interface: &str,
        hook: &str,
        position: Position,
        ports: &[u16],
    ) -> Self {
        let bytes = fs::read(OBJECT).expect("the build left it there");
        let mut object = Ebpf::load(&bytes).expect("it loads");
        let mut rules =
            HashMap::<_, PortKey, Rule>::try_from(object.map_mut(RULES.name).expect("map"))
                .expect("of this type");
        for &port in ports {
            let rule = Rule {
                rule: 0,
                flags: 0,
                syn_limit: 0,
                ipv6_prefix: 128,
                destinations: 0,
                upstream: 0,
            };
            rules.insert(PortKey { port }, rule, 0).expect("there is room");
        }
        let mut words = Array::<_, u64>::try_from(object.map_mut(RULED_PORTS.name).expect("map"))
            .expect("of this type");
        for (word, bit) in ports.iter().copied().map(port_bit) {
            let bits = words.get(&word, 0).expect("there is such an entry");
            words.set(word, bits | bit, 0).expect("it is written");
        }
        let node = Node { private_ns: u32::MAX >> 1, ..Node::default() };
        Array::try_from(object.map_mut(NODE.name).expect("map"))
            .and_then(|mut map| map.set(0, node, 0))
            .expect("it is written");
        let program = object.program_mut(STEER).expect("a program of that name");
        let program: &mut SchedClassifier = program.try_into().expect("of this type");
        persist(|| program.load());
        let options = options(hook, position);
        // Interfaces are looked up by name, in the namespace of whoever asks.
        let link = netns.run(|| {
            let id = program.attach_with_options(interface, TcAttachType::Ingress, options);
            program.take_link(id.expect("it attaches")).expect("it was attached")
        });
        Self { object, _link: link }
    }

    /// Packets counted so far.
    pub fn packets(&self) -> u64 {
        let stats = PerCpuArray::<_, Stats>::try_from(self.object.map(STATS.name).expect("map"))
            .and_then(|map| map.get(&0, 0))
            .expect("it can be read");
        stats.iter().map(|cpu| cpu.passed).sum()
    }
}

fn options(hook: &str, position: Position) -> TcAttachOptions {
    match (hook, position) {
        ("tcx", Position::Before) => TcAttachOptions::TcxOrder(LinkOrder::first()),
        ("tcx", Position::Behind) => TcAttachOptions::TcxOrder(LinkOrder::last()),
        (_, position) => {
            let priority = if position == Position::Before { 1 } else { 100 };
            TcAttachOptions::Netlink(NlOptions { priority, ..NlOptions::default() })
        }
    }
}
