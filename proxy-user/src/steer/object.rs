//! The eBPF object: its programs in the kernel, its maps filled and read, its links held.

use anyhow::{Context as _, Result, anyhow};
use aya::maps::{Array, HashMap, PerCpuArray, SockMap};
use aya::programs::{
    CgroupAttachMode, ProgramError, SchedClassifier, SkLookup, SockOps, TcAttachType,
    sk_lookup::SkLookupLink, sock_ops::SockOpsLink, tc::SchedClassifierLink,
};
use aya::{Ebpf, include_bytes_aligned};
use nix::sys::utsname::uname;
use proxy_common::Reason;
use proxy_common::abi::{
    LISTENER_V4, LISTENER_V6, Node, PortKey, REASON_NAME_LEN, ReasonCount, Rule, Stats,
};
use proxy_common::names;
use std::path::Path;

use super::attach::{Clsact, HookUsed, NetworkInterface};
use super::namespace::PrivateNamespace;
use crate::config::Settings;
use crate::sys::cgroup::Cgroup;
use crate::sys::slots::Slots;
use crate::sys::socket::Listeners;

/// What `proxy-ebpf` compiles to.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/foreword-ebpf"));

/// Maps that are pinned for people to look at.
const SHOWN: [&str; 4] = [names::RULES, names::STATS, names::REASONS, names::CONNS];

/// The loaded programs and their maps.
#[derive(Debug)]
pub struct Object(Ebpf);

impl Object {
    /// Loads every program; the kernel's verifier has the last word on each.
    pub fn load() -> Result<Self> {
        let mut object = Self(Ebpf::load(OBJECT).context("cannot load the eBPF object")?);
        refused(names::STEER, object.classifier(names::STEER)?.load())?;
        refused(names::RETURN, object.classifier(names::RETURN)?.load())?;
        refused(names::LOOKUP, object.program::<SkLookup>(names::LOOKUP)?.load())?;
        refused(names::TRACK, object.program::<SockOps>(names::TRACK)?.load())?;
        Ok(object)
    }

    /// Tells the programs which ports are protected.
    pub fn set_rules(&mut self, settings: &Settings) -> Result<()> {
        let map = self.0.map_mut(names::RULES).context("no rules map")?;
        let mut rules = HashMap::<_, PortKey, Rule>::try_from(map)?;
        for (number, rule) in settings.rules.iter().enumerate() {
            let value = Rule { rule: u32::try_from(number).context("too many rules")? };
            for port in rule.ports.iter() {
                rules.insert(PortKey { port }, value, 0).context("cannot write a rule")?;
            }
        }
        Ok(())
    }

    /// Tells the programs where they are.
    pub fn set_node(&mut self, node: Node) -> Result<()> {
        let map = self.0.map_mut(names::NODE).context("no node map")?;
        Array::<_, Node>::try_from(map)?.set(0, node, 0).context("cannot write the node's facts")
    }

    /// Tells the lookup who listens. One worker's sockets stand for its whole reuse-port group.
    pub fn set_listeners(&mut self, listeners: &Listeners) -> Result<()> {
        let mut map = self.listeners()?;
        map.set(LISTENER_V4, &listeners.v4, 0).context("cannot set the IPv4 listener")?;
        if let Some(v6) = &listeners.v6 {
            map.set(LISTENER_V6, v6, 0).context("cannot set the IPv6 listener")?;
        }
        Ok(())
    }

    /// From now on nobody listens, as far as steering can see.
    pub fn clear_listeners(&mut self) -> Result<()> {
        let mut map = self.listeners()?;
        let present: Vec<u32> = map.indices().collect::<Result<_, _>>()?;
        for index in present {
            // An empty slot is listed too, and can't be cleared.
            let _ = map.clear_index(&index);
        }
        Ok(())
    }

    /// Pins the maps that are for people to look at.
    pub fn pin(&self, folder: &Path) -> Result<()> {
        for name in SHOWN {
            let map = self.0.map(name).with_context(|| format!("no map {name}"))?;
            map.pin(folder.join(name)).with_context(|| format!("cannot pin {name}"))?;
        }
        Ok(())
    }

    /// Writes how many connections ended for each reason.
    pub fn publish(&mut self, counts: impl IntoIterator<Item = (Reason, u64)>) -> Result<()> {
        let map = self.0.map_mut(names::REASONS).context("no reasons map")?;
        let mut reasons = Array::<_, ReasonCount>::try_from(map)?;
        for (reason, connections) in counts {
            let mut name = [0; REASON_NAME_LEN];
            name[..reason.name().len()].copy_from_slice(reason.name().as_bytes());
            reasons.set(reason as u32, ReasonCount { name, connections }, 0)?;
        }
        Ok(())
    }

    /// The packet counters, added up over all CPUs.
    pub fn stats(&self) -> Result<Stats> {
        let map = self.0.map(names::STATS).context("no stats map")?;
        let per_cpu = PerCpuArray::<_, Stats>::try_from(map)?.get(&0, 0)?;
        let mut total = Stats::default();
        per_cpu.iter().for_each(|stats| total.add(stats));
        Ok(total)
    }

    fn listeners(&mut self) -> Result<SockMap<&mut aya::maps::MapData>> {
        Ok(SockMap::try_from(self.0.map_mut(names::LISTENERS).context("no listeners map")?)?)
    }

    fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        self.program(name)
    }

    fn program<'a, P>(&'a mut self, name: &str) -> Result<&'a mut P>
    where
        &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
    {
        let program = self.0.program_mut(name).with_context(|| format!("no program {name}"))?;
        Ok(program.try_into()?)
    }
}

/// The kernel's refusal in one sentence; the verifier's pages go to the log.
fn refused(name: &str, result: Result<(), ProgramError>) -> Result<()> {
    let Err(error) = result else { return Ok(()) };
    let cause = match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            tracing::debug!(%verifier_log, program = name);
            anyhow!(io_error)
        }
        other => anyhow!(other),
    };
    let kernel =
        uname().map_or_else(|_| String::new(), |uname| uname.release().to_string_lossy().into());
    Err(cause.context(format!(
        "this kernel ({kernel}) refuses the eBPF program {name}; Foreword needs Linux 5.10 or newer"
    )))
}

/// What ties the programs to the machine. Dropped in the order of the fields: first nothing new
/// is steered, then nothing is steered, then nobody is looked up.
#[derive(Debug, Default)]
pub struct Links {
    steer: Vec<SchedClassifierLink>,
    homeward: Option<SchedClassifierLink>,
    lookup: Option<SkLookupLink>,
    track: Option<SockOpsLink>,
    /// Qdiscs that we added for the filters above.
    qdiscs: Vec<Clsact>,
}

impl Links {
    /// Starts to steer what comes in by an interface.
    pub fn attach_steer(
        &mut self,
        object: &mut Object,
        interface: &NetworkInterface,
        hook: HookUsed,
        slots: &mut Slots,
    ) -> Result<()> {
        let program = object.classifier(names::STEER)?;
        let link = self.attach_tc(program, interface.name(), hook, slots);
        self.steer.push(link.with_context(|| format!("cannot attach to {interface}"))?);
        Ok(())
    }

    /// Starts to send home what comes out of the private namespace.
    pub fn attach_return(
        &mut self,
        object: &mut Object,
        veth: &str,
        hook: HookUsed,
        slots: &mut Slots,
    ) -> Result<()> {
        let program = object.classifier(names::RETURN)?;
        let link = self.attach_tc(program, veth, hook, slots);
        self.homeward = Some(link.with_context(|| format!("cannot attach to {veth}"))?);
        Ok(())
    }

    /// Starts to answer, in the private namespace, who listens.
    pub fn attach_lookup(
        &mut self,
        object: &mut Object,
        namespace: &PrivateNamespace,
        slots: &mut Slots,
    ) -> Result<()> {
        let program = object.program::<SkLookup>(names::LOOKUP)?;
        slots.free_one();
        let id = program.attach(namespace.namespace()).context("cannot attach the lookup")?;
        self.lookup = Some(program.take_link(id)?);
        Ok(())
    }

    /// Starts to note connections.
    pub fn attach_track(
        &mut self,
        object: &mut Object,
        cgroup: &Cgroup,
        slots: &mut Slots,
    ) -> Result<()> {
        let program = object.program::<SockOps>(names::TRACK)?;
        let folder = cgroup.open().context("cannot open the process's cgroup")?;
        slots.free_one();
        // A link allows others beside it whatever the mode, and takes no flag that says so.
        let id = program.attach(folder, CgroupAttachMode::Single);
        self.track = Some(program.take_link(id.context("cannot attach to the cgroup")?)?);
        Ok(())
    }

    fn attach_tc(
        &mut self,
        program: &mut SchedClassifier,
        interface: &str,
        hook: HookUsed,
        slots: &mut Slots,
    ) -> Result<SchedClassifierLink> {
        if hook == HookUsed::Clsact {
            self.qdiscs.extend(Clsact::add(interface)?);
        }
        slots.free_one();
        let id = program.attach_with_options(interface, TcAttachType::Ingress, hook.options())?;
        Ok(program.take_link(id)?)
    }
}
