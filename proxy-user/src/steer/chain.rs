//! Which instances have programs on an interface, and in which order packets meet them.
//!
//! No instance's word is taken for it: the kernel is asked about the programs that are attached now.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, Map, MapData};
use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs};
use proxy_common::abi::Node;
use proxy_common::maps::NODE;
use proxy_common::names::STEER;

use super::hook::has_tcx;
use super::interface::NetworkInterface;
use super::lock::directory;
use super::netlink::tc::{Filter, filters_on};
use super::netlink::{self, Link};
use super::{instance, lock, veth};

/// The kernel removes the links of a process that was killed within this time.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The pause between two looks.
const RETRY: Duration = Duration::from_millis(20);

/// A program at TC ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IngressProgram {
    /// Its id.
    program: u32,
    /// Whether it ends with its process; a filter stays.
    is_link: bool,
}

/// Requires that the `foreword_steer` with the id `successor` comes before our own.
pub fn require_before(interface: &NetworkInterface, successor: u32, own: u32) -> Result<()> {
    let is_steer = info(successor).is_some_and(|info| info.name() == STEER.as_bytes());
    let places = ingress(interface.name(), interface.index())?;
    let place = |number| places.iter().position(|place| place.program == number);
    match (place(successor).filter(|_| is_steer), place(own)) {
        (Some(theirs), Some(ours)) if theirs < ours => Ok(()),
        // Somebody has detached ours.
        (Some(_), None) => Ok(()),
        (Some(_), Some(_)) => bail!("its {STEER} on {interface} stands behind mine"),
        (None, _) => bail!("I see no living {STEER} of it on {interface}"),
    }
}

/// Refuses an interface that we have locked while a living instance steers it. That one uses another
/// directory of locks, so nothing would coordinate the two.
pub fn require_no_unlocked_instance(interface: &NetworkInterface) -> Result<()> {
    // A draining instance's programs stay until its connections have ended.
    if lock::is_draining(interface.index()) {
        return Ok(());
    }
    let deadline = Instant::now() + TIMEOUT;
    while is_steered(interface)? {
        if Instant::now() > deadline {
            let run = directory::RUN;
            bail!(
                "{interface} is steered by a Foreword that has no lock in {run}: it runs in a \
                 container of its own, or this one does; mount the node's {run} at {run} in both \
                 (a hostPath volume, or --volume {run}:{run}), or stop that one first"
            );
        }
        sleep(RETRY);
    }
    Ok(())
}

/// Whether a living process's `foreword_steer` is on the interface.
fn is_steered(interface: &NetworkInterface) -> Result<bool> {
    let places = ingress(interface.name(), interface.index())?;
    let ours = places.into_iter().filter_map(|place| Some((place, info(place.program)?)));
    let mut ours = ours.filter(|(_, info)| info.name() == STEER.as_bytes()).peekable();
    if ours.peek().is_none() {
        return Ok(false);
    }
    let links = netlink::run(async |handle| netlink::links(&handle).await)?;
    Ok(ours.any(|(place, info)| place.is_link || is_alive(&info, &links)))
}

/// Whether a filter runs a program of the same name: anybody can give a filter any name.
pub fn runs_program_of_its_name(filter: &Filter) -> bool {
    let name = filter.name.as_ref();
    filter.program.and_then(info).is_some_and(|info| info.name_as_str() == name.map(String::as_str))
}

/// Whether a filter that has one of our names runs a program of an instance that is certainly dead,
/// whichever other instances are on the interface.
pub fn is_orphaned(filter: &Filter, links: &[Link]) -> bool {
    let program = filter.program.and_then(info);
    let node = program.as_ref().and_then(node_of);
    node.is_some_and(|node| !has_living_owner(&node, links))
}

/// Whether the instance that a filter's program belongs to is alive.
fn is_alive(program: &ProgramInfo, links: &[Link]) -> bool {
    node_of(program).is_some_and(|node| has_living_owner(&node, links))
}

/// Whether a node's veth is there, and its instance not certainly dead.
fn has_living_owner(node: &Node, links: &[Link]) -> bool {
    let link = links.iter().find(|link| link.index == node.veth);
    link.and_then(veth::instance_of).is_some_and(|number| !instance::is_dead(number))
}

/// Reads a program's map of facts about its node.
fn node_of(program: &ProgramInfo) -> Option<Node> {
    let maps = program.map_ids().ok()??;
    maps.into_iter().find_map(|number| {
        let map = MapData::from_id(number).ok()?;
        let is_node = map.info().ok()?.name() == NODE.name.as_bytes();
        is_node.then_some(())?;
        Array::<_, Node>::try_from(Map::Array(map)).ok()?.get(&0, 0).ok()
    })
}

fn info(number: u32) -> Option<ProgramInfo> {
    loaded_programs().filter_map(Result::ok).find(|info| info.id() == number)
}

/// The programs at TC ingress, in the order in which packets meet them.
fn ingress(name: &str, index: u32) -> Result<Vec<IngressProgram>> {
    let mut places = Vec::new();
    if has_tcx() {
        // The query fails as a whole if a program ends meanwhile.
        let query = || SchedClassifier::query_tcx(name, TcAttachType::Ingress);
        let queried = query().or_else(|_| query()).or_else(|_| query());
        let (_, programs) = queried.with_context(|| format!("cannot look at {name}"))?;
        places.extend(
            programs.iter().map(|info| IngressProgram { program: info.id(), is_link: true }),
        );
    }
    let filters = filters_on(index);
    let filters = filters.with_context(|| format!("cannot look at the filters on {name}"))?;
    let at_ingress = filters.iter().filter(|filter| filter.direction == TcAttachType::Ingress);
    let numbers = at_ingress.filter_map(|filter| filter.program);
    places.extend(numbers.map(|program| IngressProgram { program, is_link: false }));
    Ok(places)
}
