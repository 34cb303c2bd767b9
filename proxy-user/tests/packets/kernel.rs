//! The programs that Foreword has loaded, run by `BPF_PROG_TEST_RUN`.
//!
//! The kernel builds a packet as if it had come in by an interface of the caller's namespace, so
//! the calling thread has to be in the node's.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::IpAddr;

use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData, PerCpuArray};
use aya::programs::{
    ProgramInfo, SchedClassifier, TestRun as _, TestRunOptions, Xdp, loaded_programs,
};
use aya_obj::programs::XdpAttachType;
use netlab::Foreword;
use proxy_common::Reason;
use proxy_common::abi::{Address, Node, PortKey, Rate, RateKey, Rule};
use proxy_common::{maps, names};

use crate::facts::NodeFacts;
use crate::model::Program;
use crate::packet::{Arrival, Ingress, Interface, Mark};

/// Bytes of `struct __sk_buff` up to the last field that is set.
const SK_BUFF: usize = 48;
/// Offsets of its fields, from `include/uapi/linux/bpf.h`.
const SK_BUFF_MARK: usize = 8;
const SK_BUFF_INGRESS_IFINDEX: usize = 36;
const SK_BUFF_IFINDEX: usize = 40;

/// The index of `lo` in every namespace.
const LOOPBACK: u32 = 1;
/// Bytes of an Ethernet header and an IPv6 header: the kernel may refuse shorter frames.
const LEAST: usize = 14 + 40;
/// A mark that nothing uses.
const OTHER_MARK: u32 = 0x0000_1234;

/// The verdict that a program returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    Pass,
    Drop,
    Redirect,
    /// The kernel did not run it.
    Refused,
    /// What no program of ours may return; TC's 0 would end the chain.
    Odd(u32),
}

/// A loaded program.
enum Loaded {
    Classifier(SchedClassifier),
    Xdp(Xdp),
}

/// One instance's programs and maps.
pub struct Kernel {
    programs: HashMap<Program, Loaded>,
    /// Map ids by name.
    maps: HashMap<String, u32>,
    drops: PerCpuArray<MapData, u64>,
}

impl Kernel {
    /// Finds them by name among the descriptors of the process, so that no other instance's are
    /// taken.
    pub fn of(foreword: &Foreword) -> Self {
        let (programs, maps) = (open_ids(foreword, "prog_id"), open_ids(foreword, "map_id"));
        // Programs of others can disappear meanwhile.
        let ours = |info: &ProgramInfo| programs.contains(&info.id());
        let infos = loaded_programs().filter_map(Result::ok).filter(ours);
        let programs = infos.filter_map(|info| {
            let name = info.name_as_str()?.to_owned();
            let program = Program::ALL.into_iter().find(|it| it.name() == name)?;
            Some((program, Loaded::new(program, info)))
        });
        let programs = programs.collect();
        let named = |id| {
            let map = MapData::from_id(id).expect("Foreword has it open");
            let info = map.info().expect("a map tells about itself");
            Some((info.name_as_str()?.to_owned(), id))
        };
        let maps: HashMap<_, _> = maps.into_iter().filter_map(named).collect();
        let drops = map(&maps, maps::DROPS.name, Map::PerCpuArray);
        let drops = drops.try_into().expect("an entry is one number");
        Self { programs, maps, drops }
    }

    /// Whether this instance has loaded it.
    pub fn has(&self, program: Program) -> bool {
        self.programs.contains_key(&program)
    }

    /// Runs a program on a frame, once. [`Returned::Refused`] means that this kernel builds no
    /// packet from a frame without a whole IP header.
    pub fn run(
        &self,
        program: Program,
        facts: &NodeFacts,
        arrival: Arrival,
        frame: &[u8],
    ) -> Returned {
        let context = sk_buff(facts, arrival);
        let mut options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        let loaded = self.programs.get(&program).expect("asked for before");
        let result = match loaded {
            Loaded::Classifier(classifier) => {
                options.ctx_in = Some(&context);
                classifier.test_run(options)
            }
            Loaded::Xdp(xdp) => xdp.test_run(options),
        };
        let value = match result {
            Ok(result) => result.return_value,
            Err(_) if frame.len() < LEAST => return Returned::Refused,
            Err(error) => panic!("{program:?} can't be run on {frame:02x?}: {error:?}"),
        };
        match (loaded, value) {
            (Loaded::Classifier(_), u32::MAX) | (Loaded::Xdp(_), 2) => Returned::Pass,
            (Loaded::Classifier(_), 2) | (Loaded::Xdp(_), 1) => Returned::Drop,
            (Loaded::Classifier(_), 7) => Returned::Redirect,
            (_, odd) => Returned::Odd(odd),
        }
    }

    /// Packets dropped so far, by the reason's number.
    pub fn drops(&self) -> Vec<u64> {
        let count = |number| {
            let cpus = self.drops.get(&number, 0).expect("there is an entry for each reason");
            cpus.iter().sum()
        };
        (0..Reason::ALL.len() as u32).map(count).collect()
    }

    /// Packets dropped so far for the reason with this name.
    pub fn dropped_for(&self, name: &str) -> u64 {
        let number = Reason::ALL.iter().position(|reason| reason.name() == name);
        number.map_or(0, |number| self.drops()[number])
    }

    /// Puts a source over the limit of a port's rule, for good.
    pub fn exhaust(&mut self, port: u16, source: IpAddr) {
        let rules = map(&self.maps, maps::RULES.name, Map::HashMap);
        let rules = BpfHashMap::<_, PortKey, Rule>::try_from(rules).expect("of our own types");
        let Rule { rule, .. } = rules.get(&PortKey { port }, 0).expect("the port has a rule");
        let rates = map(&self.maps, maps::RATES.name, Map::LruHashMap);
        let mut rates = BpfHashMap::<_, RateKey, Rate>::try_from(rates).expect("of our own types");
        let far = Rate { theoretical_arrival_ns: u64::MAX / 2 };
        for source in [address(source), network(source)] {
            rates.insert(RateKey { source, rule }, far, 0).expect("there is room");
        }
    }

    /// Foreword's mark for its own packets; 0 if it sets none.
    pub fn own_mark(&self) -> u32 {
        let node = map(&self.maps, maps::NODE.name, Map::Array);
        let node = Array::<_, Node>::try_from(node).expect("of our own types");
        node.get(&0, 0).expect("it has one entry").own_mark
    }
}

impl Loaded {
    fn new(program: Program, info: ProgramInfo) -> Self {
        let name = program.name().into();
        let loaded = match program {
            Program::Guard => {
                Xdp::from_program_info(info, name, XdpAttachType::Interface).map(Self::Xdp)
            }
            _ => SchedClassifier::from_program_info(info, name).map(Self::Classifier),
        };
        loaded.unwrap_or_else(|error| panic!("{program:?} can't be opened: {error}"))
    }
}

/// The ids of programs (`prog_id`) or maps (`map_id`) that a process has open.
fn open_ids(foreword: &Foreword, field: &str) -> HashSet<u32> {
    let folder = format!("/proc/{}/fdinfo", foreword.pid());
    let descriptors = fs::read_dir(folder).expect("it runs").filter_map(Result::ok);
    // A descriptor can be gone by now.
    let texts = descriptors.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let id = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line?.trim().parse().ok()
    };
    texts.filter_map(id).collect()
}

/// One of the instance's maps.
fn map(maps: &HashMap<String, u32>, name: &str, kind: fn(MapData) -> Map) -> Map {
    let id = *maps.get(name).unwrap_or_else(|| panic!("no map {name}"));
    kind(MapData::from_id(id).expect("Foreword has it open"))
}

/// An address in the form used in maps.
fn address(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The network by which limits count the source: the first 64 bits of an IPv6 address.
fn network(source: IpAddr) -> Address {
    let mut bytes = address(source);
    if source.is_ipv6() {
        bytes[8..].fill(0);
    }
    bytes
}

/// What the kernel gets of a packet besides its bytes.
fn sk_buff(facts: &NodeFacts, arrival: Arrival) -> [u8; SK_BUFF] {
    let (first, count) = (names::VETH_INDEX_BASE, names::VETH_INDICES);
    let fields = [
        (
            SK_BUFF_MARK,
            match arrival.mark {
                Mark::None => 0,
                Mark::Own => facts.own_mark,
                Mark::Other => OTHER_MARK,
            },
        ),
        (
            SK_BUFF_IFINDEX,
            match arrival.interface {
                Interface::Protected => facts.index,
                Interface::Loopback => LOOPBACK,
            },
        ),
        (
            SK_BUFF_INGRESS_IFINDEX,
            match arrival.ingress {
                Ingress::Host => 0,
                Ingress::Elsewhere => facts.other_index,
                Ingress::Veth => first + count / 2,
                Ingress::BelowVeths => first - 1,
                Ingress::AboveVeths => first + count,
            },
        ),
    ];
    let mut context = [0; SK_BUFF];
    for (at, value) in fields {
        context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    context
}
