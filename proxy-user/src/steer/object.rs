//! The eBPF object: its programs in the kernel, and what ties them to our own half of the way.

use anyhow::{Context as _, Result, anyhow};
use aya::maps::Map;
use aya::programs::links::FdLink;
use aya::programs::{
    CgroupAttachMode, Program, ProgramError, SchedClassifier, SkLookup, SockOps, Xdp,
};
use aya::{Ebpf, EbpfLoader, include_bytes_aligned};
use nix::sys::utsname::uname;
use proxy_common::{maps, names};

use super::attachment::Plan;
use super::classifier::{Classifier, Order};
use super::hook::{Clsact, HookUsed, ensure_clsact};
use super::namespace::PrivateNamespace;
use super::packet_log::{PacketLog, Verbosity};
use super::reconcile::{AttachPoint, Component};
use super::rules::{self, KernelMaps};
use super::watched_link::WatchedLink;
use crate::config::settings::{GuardHook, Reply};
use crate::sys::cgroup::Cgroup;
use crate::sys::low_fds::LowFds;

/// What `proxy-ebpf` compiles to.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/foreword-ebpf"));

/// The loaded programs and their maps.
#[derive(Debug)]
pub struct Object {
    ebpf: Ebpf,
    rules: rules::Writer,
    /// What the programs say, where that is wanted.
    log: Option<PacketLog>,
}

impl Object {
    /// Loads the programs that the plan needs; the kernel's verifier has the last word on each. A
    /// kernel that refuses them for the sake of the log gets them without.
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
        // The kernel sets an LRU map's memory aside at once.
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
        let mut object = Self { ebpf, rules: rules::Writer::default(), log: None };
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

    /// The maps of rules, and who writes them.
    pub fn rules(&mut self) -> (&mut rules::Writer, KernelMaps<'_>) {
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

/// What ties the programs to what we have made ourselves. Dropped in the order of the fields:
/// first nothing comes out any more, then nobody is looked up.
#[derive(Debug, Default)]
pub struct ProgramLinks {
    return_path: Option<Classifier>,
    lookup: Option<WatchedLink>,
    track: Option<WatchedLink>,
    /// The qdisc that we added to the veth.
    qdisc: Option<Clsact>,
}

impl ProgramLinks {
    /// Descriptors that must close early when the process dies.
    pub const COUNT: usize = 3;

    /// What has to be attached, and where that is to be looked for.
    pub fn expected(&self) -> impl Iterator<Item = (Component, AttachPoint)> {
        let return_path = self.return_path.as_ref().map(|it| (Component::Return, it.place()));
        let lookup = self.lookup.as_ref().map(|it| (Component::Lookup, it.place()));
        let track = self.track.as_ref().map(|it| (Component::Track, it.place()));
        return_path.into_iter().chain(lookup).chain(track)
    }

    /// Forgets what somebody else has detached, so that its descriptor is free before it is attached
    /// again.
    pub fn forget(&mut self, part: Component) {
        match part {
            Component::Return => self.return_path = None,
            Component::Lookup => self.lookup = None,
            Component::Track => self.track = None,
            _ => {}
        }
    }

    /// Starts to send home what comes out of the private namespace, by the veth's host end.
    pub fn attach_return(
        &mut self,
        object: &mut Object,
        (veth, index): (&str, u32),
        hook: HookUsed,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        if hook == HookUsed::Clsact {
            ensure_clsact(&mut self.qdisc, veth, index)?;
        }
        let how = (hook, Order::First);
        let attached = Classifier::attach(object, names::RETURN, (veth, index), how, low_fds);
        let attached = attached.with_context(|| format!("cannot attach to {veth}"))?;
        self.return_path = Some(attached);
        Ok(())
    }

    /// Starts to answer, in the private namespace, who listens.
    pub fn attach_lookup(
        &mut self,
        object: &mut Object,
        namespace: &PrivateNamespace,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        let program = object.program::<SkLookup>(names::LOOKUP)?;
        low_fds.release_one();
        let id = program.attach(namespace.namespace()).context("cannot attach the lookup")?;
        self.lookup = Some(WatchedLink::of(FdLink::from(program.take_link(id)?))?);
        Ok(())
    }

    /// Starts to note connections.
    pub fn attach_track(
        &mut self,
        object: &mut Object,
        cgroup: &Cgroup,
        low_fds: &mut LowFds,
    ) -> Result<()> {
        let program = object.program::<SockOps>(names::TRACK)?;
        let directory = cgroup.open().context("cannot open the process's cgroup")?;
        low_fds.release_one();
        // A link allows others beside it whatever the mode, and takes no flag that says so.
        let id = program.attach(directory, CgroupAttachMode::Single);
        let link = program.take_link(id.context("cannot attach to the cgroup")?)?;
        self.track = Some(WatchedLink::of(FdLink::try_from(link)?)?);
        Ok(())
    }
}
