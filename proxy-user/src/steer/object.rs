//! The eBPF object: its programs and maps, loaded into the kernel.

use anyhow::{Context as _, Result, anyhow};
use aya::maps::Map;
use aya::programs::{Program, ProgramError, SchedClassifier, SkLookup, SockOps, Xdp};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use nix::sys::utsname::uname;
use proxy_common::{maps, names};

use super::packet_log::{PacketLog, Verbosity};
use super::plan::Plan;
use super::rules::{KernelMaps, Writer};
use crate::config::Settings;
use crate::config::settings::{GuardHook, Reply, UpstreamAddress};

/// What `proxy-ebpf` compiles to.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/foreword-ebpf"));

/// The loaded programs and their maps.
#[derive(Debug)]
pub struct Object {
    ebpf: Ebpf,
    rules: Writer,
    /// The reader of what the programs log, if they do.
    log: Option<PacketLog>,
}

impl Object {
    /// Loads the programs that the plan needs. If the kernel's verifier refuses them with logging, they
    /// are loaded without.
    pub fn load(plan: Plan, reply: Reply) -> Result<Self> {
        let verbosity = Verbosity::of_log();
        if verbosity == Verbosity::Off {
            return Self::load_with(plan, reply, Verbosity::Off);
        }
        let object = Self::load_with(plan, reply, verbosity).and_then(Self::with_log);
        object.or_else(|error| {
            tracing::warn!(error = %format!("{error:#}"), "packets are not logged");
            Self::load_with(plan, reply, Verbosity::Off)
        })
    }

    fn with_log(mut self) -> Result<Self> {
        self.log = Some(PacketLog::start(&mut self.ebpf).context("cannot read the packet log")?);
        Ok(self)
    }

    fn load_with(plan: Plan, reply: Reply, verbosity: Verbosity) -> Result<Self> {
        let mut loader = EbpfLoader::new();
        verbosity.set(&mut loader);
        // The kernel allocates all of an LRU map's memory in advance.
        if reply == Reply::Route {
            loader.map_max_entries(maps::ARRIVAL_PATHS.name, 1);
        }
        if plan.guard.is_none() {
            loader.map_max_entries(maps::RATES.name, 1);
        }
        if !plan.pods {
            loader.map_max_entries(maps::POD_SYNS.name, 1);
        }
        let ebpf = loader.load(OBJECT).context("cannot load the eBPF object")?;
        let mut object = Self { ebpf, rules: Writer::default(), log: None };
        object.load_classifier(names::STEER)?;
        object.load_classifier(names::RETURN)?;
        refused(names::LOOKUP, object.program::<SkLookup>(names::LOOKUP)?.load())?;
        refused(names::TRACK, object.program::<SockOps>(names::TRACK)?.load())?;
        if plan.synack {
            object.load_classifier(names::SYNACK)?;
        }
        if plan.answers {
            object.load_classifier(names::ANSWER)?;
            object.load_classifier(names::EGRESS)?;
        }
        if plan.hold {
            object.load_classifier(names::HOLD)?;
            object.load_classifier(names::HOLD_TX)?;
        }
        if plan.guard.is_some_and(|hook| hook != GuardHook::Tc) {
            refused(names::GUARD, object.program::<Xdp>(names::GUARD)?.load())?;
        }
        Ok(object)
    }

    /// Tells the programs what the settings say, instead of what they were told before. Ports that
    /// have no rule any more are kept for the connections that are open. An error leaves the maps as
    /// they were.
    pub fn set_rules(&mut self, settings: &Settings) -> Result<()> {
        let (rules, mut maps) = self.rules();
        rules.apply(&mut maps, settings).context("the eBPF maps do not take the rules")
    }

    /// Removes the ranges that no rule has any more, once no packet can be about to look them up.
    pub fn remove_stale_ranges(&mut self) -> Result<()> {
        let (rules, mut maps) = self.rules();
        rules.tidy(&mut maps)
    }

    /// Leaves new connections alone from now on. First packets that are on their way into the private
    /// namespace are still answered.
    pub fn retire_all(&mut self) -> Result<()> {
        let (rules, mut maps) = self.rules();
        rules.retire_all(&mut maps).context("the eBPF maps do not let the rules go")
    }

    /// The number by which the maps know an upstream.
    pub fn number_of(&mut self, upstream: &UpstreamAddress) -> u32 {
        self.rules.number_of(upstream)
    }

    fn rules(&mut self) -> (&mut Writer, KernelMaps<'_>) {
        (&mut self.rules, KernelMaps(&mut self.ebpf))
    }

    /// A map by its name.
    pub fn map(&self, name: &str) -> Result<&Map> {
        self.ebpf.map(name).with_context(|| format!("no map {name}"))
    }

    /// All maps, to read from.
    pub fn maps(&self) -> &Ebpf {
        &self.ebpf
    }

    /// All maps, to write to.
    pub fn maps_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// A loaded program by its name.
    pub fn program<'a, P>(&'a mut self, name: &str) -> Result<&'a mut P>
    where
        &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
    {
        let program = self.ebpf.program_mut(name).with_context(|| format!("no program {name}"))?;
        Ok(program.try_into()?)
    }

    fn load_classifier(&mut self, name: &str) -> Result<()> {
        refused(name, self.program::<SchedClassifier>(name)?.load())
    }
}

/// Puts the kernel's refusal into one sentence; the verifier's log goes to ours.
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
