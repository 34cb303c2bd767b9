//! All programs on an interface, in the order in which packets meet them.

use std::collections::BTreeMap;

use aya::programs::{SchedClassifier, TcAttachType, loaded_programs};
use netlink_packet_route::link::{LinkXdp, XdpAttached};

use super::features::readable;
use crate::steer::hook::PRIORITY;
use crate::steer::netlink::tc::{Filter, filters_on};
use crate::sys::fact::{Fact, Unknown};

/// How a program is attached to TC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcHook {
    /// By a tcx link; these run before all filters.
    Tcx,
    /// As a filter on clsact, lower priorities first.
    Clsact(u16),
}

/// The priority that our own filters have.
pub const OUR_PRIORITY: u16 = PRIORITY;

/// A program at TC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name; of a filter without one, what kind it is.
    pub name: String,
    /// How it is attached.
    pub hook: TcHook,
}

/// What a packet meets in one direction: the first half, then the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// By tcx.
    pub tcx: Fact<Vec<Program>>,
    /// On clsact.
    pub clsact: Fact<Vec<Program>>,
}

impl Chain {
    /// The programs that were seen, in their order.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        self.tcx.iter().flatten().chain(self.clsact.iter().flatten())
    }
}

/// Where an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the card.
    Hardware,
    /// In the driver.
    Driver,
    /// In the kernel's generic XDP.
    Generic,
}

/// An XDP program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpProgram {
    /// Its name.
    pub name: Fact<String>,
    /// Where it runs.
    pub mode: XdpMode,
}

/// The names of loaded programs by id.
pub type ProgramNames = Fact<BTreeMap<u32, String>>;

/// The names of all programs that are loaded.
pub fn names() -> ProgramNames {
    let mut names = BTreeMap::new();
    for program in loaded_programs() {
        match readable(program) {
            Ok(program) => {
                let name = String::from_utf8_lossy(program.name()).into_owned();
                names.insert(program.id(), name);
            }
            // Of nothing seen, the reason; of some that went while we looked, nothing.
            Err(unknown) if names.is_empty() => return Err(unknown),
            Err(_) => {}
        }
    }
    Ok(names)
}

/// The chains of an interface: its ingress and its egress.
pub fn chains(index: u32, interface: &str, has_tcx: bool) -> [Chain; 2] {
    let tcx = |place| if has_tcx { tcx(interface, place) } else { Ok(Vec::new()) };
    let [ingress, egress] = filters(index);
    [
        Chain { tcx: tcx(TcAttachType::Ingress), clsact: ingress },
        Chain { tcx: tcx(TcAttachType::Egress), clsact: egress },
    ]
}

fn tcx(interface: &str, place: TcAttachType) -> Fact<Vec<Program>> {
    let (_, programs) = readable(SchedClassifier::query_tcx(interface, place))?;
    let name =
        |program: &aya::programs::ProgramInfo| String::from_utf8_lossy(program.name()).into_owned();
    Ok(programs.iter().map(|info| Program { name: name(info), hook: TcHook::Tcx }).collect())
}

/// The filters on a link's clsact: on its ingress and on its egress.
pub fn filters(index: u32) -> [Fact<Vec<Program>>; 2] {
    match filters_on(index) {
        Ok(filters) => [TcAttachType::Ingress, TcAttachType::Egress].map(|direction| {
            let of_direction = filters.iter().filter(|filter| filter.direction == direction);
            Ok(of_direction.filter_map(program).collect())
        }),
        Err(error) => {
            let unknown = Unknown::because(format!("{error:#}"));
            [Err(unknown.clone()), Err(unknown)]
        }
    }
}

/// Without a name, by its kind.
fn program(filter: &Filter) -> Option<Program> {
    let kind = || Some(format!("a {} filter", filter.kind.as_ref()?));
    let name = filter.name.clone().or_else(kind)?;
    Some(Program { name, hook: TcHook::Clsact(filter.priority()) })
}

/// The XDP programs that a link says it has.
pub fn xdp(attributes: &[LinkXdp], names: &ProgramNames) -> Vec<XdpProgram> {
    let whole = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::Driver) => Some(XdpMode::Driver),
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(XdpMode::Generic),
        LinkXdp::Attached(XdpAttached::Hardware) => Some(XdpMode::Hardware),
        _ => None,
    });
    let programs = attributes.iter().filter_map(|attribute| match attribute {
        // The kernel reports a single program twice.
        LinkXdp::ProgId(id) => Some((*id, whole?)),
        LinkXdp::DrvProgId(id) if whole.is_none() => Some((*id, XdpMode::Driver)),
        LinkXdp::SkbProgId(id) if whole.is_none() => Some((*id, XdpMode::Generic)),
        LinkXdp::HwProgId(id) if whole.is_none() => Some((*id, XdpMode::Hardware)),
        _ => None,
    });
    let program = |(id, mode)| XdpProgram { name: name_of(id, names), mode };
    programs.map(program).collect()
}

fn name_of(id: u32, names: &ProgramNames) -> Fact<String> {
    let name = names.as_ref().map_err(Clone::clone)?.get(&id);
    name.cloned().ok_or_else(|| Unknown::because("it has gone"))
}
