//! Brings connections from the protected interfaces to our listeners, and nothing else; what
//! happens to them there is not this room's business. The only user of aya and of netlink.
//!
//! A [`Steering`] is the whole machinery of one process. It is built in an order in which each
//! step can fail without harm, with the step that touches traffic last, and is taken down the
//! other way round, by its fields' order and their `Drop`s alone: an error half-way, an orderly
//! stop and a panic all leave the machine as it was. Nothing that steers is pinned, so a process
//! that is killed takes its steering with it. The one exception is a [`hold`], which keeps ports closed
//! because its rule says so.
//!
//! Interfaces may come and go meanwhile, and others may change what is ours: what is there is looked
//! for by [`Expected::observe`], and [`Steering::reconcile`] brings everything in line with that.

pub mod advice;
mod asymmetric;
mod attachment;
mod chain;
mod classifier;
mod describe;
mod down;
mod fwmark;
mod guard;
mod hold;
mod hook;
mod host_sysctls;
mod hotplug;
mod instance;
mod interface;
pub mod link_monitor;
mod lock;
mod maps;
mod namespace;
mod netlink;
mod object;
mod observe;
mod packet_log;
pub mod pinned;
mod pods;
mod reconcile;
mod repair;
mod rules;
pub mod survey;
pub mod sweep;
mod takeover;
mod typed_maps;
mod veth;
mod veth_setup;
mod watched_link;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use proxy_common::Reason;
use proxy_common::abi::{ABI_VERSION, NODE_ANSWERS, NODE_REPLY_BY_ARRIVAL, Node, Stats};

use self::advice::Advice;
use self::attachment::{Attachment, Plan};
pub use self::down::Down;
use self::down::DownMap;
use self::fwmark::Fwmark;
pub use self::guard::GuardUsed;
pub use self::hook::HookUsed;
pub use self::hotplug::AttachFailure;
use self::instance::Instance;
pub use self::interface::Role;
use self::interface::{NetworkInterface, Selection};
use self::lock::{InterfaceLock, Predecessor, SuccessorSender, TakeoverSocket};
pub use self::lock::{ListenerLock, Successor, listener_owner};
use self::namespace::PrivateNamespace;
use self::object::{Object, ProgramLinks};
pub use self::observe::{Expected, Observation};
use self::pinned::TrackedSocket;
use self::pods::DefaultRoutes;
pub use self::repair::Repairs;
use crate::address::{OriginalDst, PeerAddr};
use crate::config::Syntax;
use crate::config::settings::{self, Reply, WhenAbsent};
use crate::config::{Names, Settings};
use crate::sys::cgroup::Cgroup;
use crate::sys::low_fds::LowFds;
use crate::sys::netns::Namespace;
use crate::sys::socket::Listeners;

/// The MTU of the way inside while no interface is there: everybody's.
const USUAL_MTU: u32 = 1500;

/// Low descriptors kept for interfaces that come later; more get ordinary ones.
const LOW_FDS_FOR_HOTPLUG: usize = 256;

/// An interface that steering is attached to.
#[derive(Clone, Copy, Debug)]
pub struct Attached<'a> {
    /// Its name.
    pub interface: &'a str,
    /// What it is for.
    pub role: Role,
    /// How steering is attached.
    pub hook: HookUsed,
    /// Where the guard stands, if it does.
    pub guard: Option<GuardUsed>,
}

/// A process's steering, from the interfaces to the listeners. Dropping it takes it down, what is
/// on the interfaces first.
#[derive(Debug)]
pub struct Steering {
    // Fields are dropped in this order.
    attachments: BTreeMap<u32, Attachment>,
    links: ProgramLinks,
    object: Object,
    namespace: PrivateNamespace,
    cgroup: Option<Cgroup>,
    instance: Instance,
    low_fds: LowFds,
    settings: settings::Steering,
    plan: Plan,
    /// Interfaces that should be attached to, and can't be.
    failures: BTreeMap<u32, AttachFailure>,
    /// Why nothing can be steered, if so.
    broken: Option<String>,
    repairs: Repairs,
    /// Processes that were asked for what they have, until they need us no more.
    predecessors: Vec<Predecessor>,
    socket: TakeoverSocket,
    mark: Option<Fwmark>,
    down: DownMap,
}

impl Steering {
    /// How many low descriptors it wants: so many are to be reserved before anything is opened.
    pub fn low_fds(settings: &Settings) -> usize {
        let steering = &settings.steering;
        let exact = steering.named().filter(|pattern| pattern.exact().is_some()).count();
        let later = if exact < steering.named().count() { LOW_FDS_FOR_HOTPLUG } else { 0 };
        ProgramLinks::COUNT + exact * Plan::LINKS + later
    }

    /// Builds it for `workers` workers, and returns the listeners of each. Needs a tokio runtime.
    /// Successors are told to `announcements`.
    ///
    /// Where the settings say so, another Foreword may be on the interfaces: its steering then
    /// stands behind this one's, and only gets what belongs to its own connections, until
    /// [`Steering::take_over`] asks it to end.
    pub fn start(
        settings: &Settings,
        workers: usize,
        mut low_fds: LowFds,
        announcements: SuccessorSender,
    ) -> Result<(Self, Vec<Listeners>)> {
        let plan = plan(settings)?;
        let links = netlink::run(async |handle| netlink::links(&handle).await)?;
        interface::require_named(&settings.steering, &links)?;
        let selection = interface::select(&settings.steering, &links);
        let socket = TakeoverSocket::open(announcements)?;
        let locked = lock_all(selection, settings.take_over, &socket)?;
        let own: Vec<_> = locked.iter().filter(|(_, lock)| lock.is_some()).collect();
        let own: Vec<_> = own.iter().map(|((interface, _), _)| interface.index()).collect();
        sweep::dead_instances(&own).context("cannot sweep what an earlier run left")?;
        let instance = Instance::claim()?;
        let mut object = Object::load(plan, settings.steering.reply)?;
        let cgroup = enter_cgroup(&instance);
        let mtu = locked.iter().map(|((interface, _), _)| interface.mtu()).min();
        let mark = on_loopback(&settings.steering).then(Fwmark::claim).transpose()?;
        let namespace =
            PrivateNamespace::build(instance.number(), mtu.unwrap_or(USUAL_MTU), mark.is_some())?;
        let listeners = namespace.listeners(workers)?;
        object.set_node(Node {
            abi: ABI_VERSION,
            veth: namespace.veth_index(),
            private_ns: namespace.id(),
            own_mark: mark.as_ref().map_or(0, Fwmark::value),
            flags: node_flags(settings.steering.reply, plan.answers),
            inner: namespace.inner_address(),
        })?;
        object.set_rules(settings)?;
        if let Some(first) = listeners.first() {
            object.set_listeners(first)?;
        }
        object.pin(instance.directory())?;
        let mut links = ProgramLinks::default();
        if let Some(cgroup) = &cgroup {
            links.attach_track(&mut object, cgroup, &mut low_fds)?;
        }
        links.attach_lookup(&mut object, &namespace, &mut low_fds)?;
        let veth = (namespace.veth_name(), namespace.veth_index());
        links.attach_return(&mut object, veth, plan.hook, &mut low_fds)?;
        let mut steering = Self {
            attachments: BTreeMap::new(),
            links,
            object,
            namespace,
            cgroup,
            instance,
            low_fds,
            settings: settings.steering.clone(),
            plan,
            failures: BTreeMap::new(),
            broken: None,
            repairs: Repairs::default(),
            predecessors: Vec::new(),
            socket,
            mark,
            down: DownMap::default(),
        };
        let routes = DefaultRoutes::read()?;
        for (interface, lock) in locked {
            steering.attach(interface, &routes, lock)?;
        }
        Ok((steering, listeners))
    }

    /// From now on the ports of rules that want it stay closed without us. To be called when
    /// nothing can fail any more.
    pub fn persist_holds(&mut self) {
        self.attachments.values_mut().for_each(Attachment::persist_hold);
    }

    fn attach(
        &mut self,
        interface: (NetworkInterface, Role),
        routes: &DefaultRoutes,
        lock: Option<InterfaceLock>,
    ) -> Result<()> {
        let index = interface.0.index();
        let sources = routes.nic_flags(&self.settings, &interface.0);
        let Self { object, plan, low_fds, instance, .. } = self;
        let attachment =
            Attachment::make(object, interface, sources, lock, *plan, low_fds, instance)?;
        self.attachments.insert(index, attachment);
        Ok(())
    }

    /// From now on new connections are taken by these settings, which are
    /// [movable](crate::config::change::movable). Those that are ours stay so, whatever ports are
    /// taken away. An error leaves everything as it was.
    pub fn change(&mut self, settings: &Settings) -> Result<()> {
        let links = netlink::run(async |handle| netlink::links(&handle).await)?;
        self.object.set_rules(settings)?;
        self.settings = settings.steering.clone();
        self.follow(&links);
        Ok(())
    }

    /// From now on first packets to these, and to no others, are answered with a reset.
    pub fn refuse<'a>(&mut self, down: impl IntoIterator<Item = Down<'a>>) -> Result<()> {
        self.down.set(&mut self.object, down)
    }

    /// How long ago somebody has aimed at a destination that is down; `None`: nobody has since.
    pub fn last_refused(&self, destination: OriginalDst) -> Result<Option<Duration>> {
        down::last_refused(&self.object, destination)
    }

    /// Lets new connections go past us from now on. The ones that are ours are still steered.
    pub fn stop_new(&mut self) -> Result<()> {
        self.object.retire_all()
    }

    /// Whether a handshake or a connection is still under way in the private namespace, counting
    /// those that are closed for us but have bytes or a FIN on their way.
    pub fn is_busy(&self) -> Result<bool> {
        self.namespace.is_busy()
    }

    /// Writes the relay's counters where `bpftool` can see them.
    pub fn publish(&mut self, counts: impl IntoIterator<Item = (Reason, u64)>) -> Result<()> {
        self.object.publish(counts)
    }

    /// Clears away what earlier rules have left in the maps.
    pub fn tidy(&mut self) -> Result<()> {
        self.object.remove_stale_ranges()
    }

    /// The packet counters, added up over all CPUs.
    pub fn stats(&self) -> Result<Stats> {
        self.object.stats()
    }

    /// The last answer of others that was dropped, in words; `None`: none was.
    pub fn bypass(&self) -> Result<Option<String>> {
        let bypass = self.object.bypass()?;
        if bypass.egress_ifindex == 0 {
            return Ok(None);
        }
        let links = netlink::run(async |handle| netlink::links(&handle).await)?;
        Ok(Some(describe::bypass(&bypass, &links)))
    }

    /// Packets dropped, by the reason's number.
    pub fn drops(&self) -> Result<Vec<u64>> {
        self.object.drops()
    }

    /// The mark that upstream sockets must carry, if steering could meet them.
    pub fn upstream_mark(&self) -> Option<u32> {
        self.mark.as_ref().map(Fwmark::value)
    }

    /// The namespace in which a socket can have a client's address.
    pub fn private_namespace(&self) -> &Namespace {
        self.namespace.namespace()
    }

    /// What the settings ask for and this node will not give, one sentence each.
    pub fn advice(&self, settings: &Settings, names: &Names, at: Syntax) -> Vec<Advice> {
        let is_watched = |link| self.attachments.contains_key(&link);
        let mut advice = Vec::from_iter(advice::on_filter(&settings.rules));
        advice.extend(advice::on_upstreams(&settings.rules, names, at, is_watched));
        advice.extend(advice::on_source_addresses(&settings.rules, at));
        advice
    }

    /// Tells whether one of the node's own pods has opened a connection.
    pub fn pods(&self) -> Result<impl Fn(PeerAddr, OriginalDst) -> bool + Send + Sync + use<>> {
        self.object.pods()
    }

    /// The instance's number.
    pub fn instance(&self) -> u32 {
        self.instance.number()
    }

    /// What it is attached to.
    pub fn attached(&self) -> impl Iterator<Item = Attached<'_>> {
        self.attachments.values().map(|attachment| Attached {
            interface: attachment.interface.name(),
            role: attachment.role,
            hook: self.plan.hook,
            guard: attachment.guard,
        })
    }

    /// The sockets that the kernel knows as ours.
    pub fn tracked(&self) -> Result<Vec<TrackedSocket>> {
        self.object.sockets()
    }

    /// The interfaces whose ports stay closed when the process ends.
    pub fn held(&self) -> Vec<String> {
        let held = self.attachments.values().filter(|attachment| attachment.is_held());
        held.map(|attachment| attachment.interface.to_string()).collect()
    }
}

/// What belongs on interfaces.
fn plan(settings: &Settings) -> Result<Plan> {
    let rules = &settings.rules;
    Ok(Plan {
        hook: HookUsed::choose(settings.steering.hook)?,
        guard: rules.iter().any(settings::Rule::is_guarded).then_some(settings.steering.guard_hook),
        synack: rules.iter().any(settings::Rule::may_guard_answers),
        answers: rules.iter().any(settings::Rule::shows_clients),
        hold: rules.iter().any(|rule| rule.when_absent == WhenAbsent::Drop),
        pods: rules.iter().any(|rule| !rule.inbound.hairpin.is_empty()),
    })
}

/// An interface that is to be attached to, and the right to do so.
type Locked = ((NetworkInterface, Role), Option<InterfaceLock>);

/// Takes every interface's lock, or none. With a takeover, those that a predecessor has can wait.
fn lock_all(selection: Selection, take_over: bool, by: &TakeoverSocket) -> Result<Vec<Locked>> {
    let lock = |entry: (NetworkInterface, Role)| {
        let lock = if take_over {
            InterfaceLock::try_take(&entry.0, by)?
        } else {
            Some(InterfaceLock::take(&entry.0, by)?)
        };
        if lock.is_some() {
            chain::require_no_unlocked_instance(&entry.0)?;
        }
        Ok((entry, lock))
    };
    selection.into_values().map(lock).collect()
}

/// Tracking is for sight only: without a cgroup to attach to, everything else works.
fn enter_cgroup(instance: &Instance) -> Option<Cgroup> {
    Cgroup::enter(instance.number())
        .inspect_err(|error| tracing::warn!(%error, "live connections are not tracked"))
        .ok()
}

fn node_flags(reply: Reply, answers: bool) -> u32 {
    let mut flags = 0;
    if reply == Reply::Arrival {
        flags |= NODE_REPLY_BY_ARRIVAL;
    }
    if answers {
        flags |= NODE_ANSWERS;
    }
    flags
}

/// On `lo`, our own connections to a server of this node would be steered back to us.
fn on_loopback(settings: &settings::Steering) -> bool {
    settings.interfaces.iter().any(|pattern| pattern.exact() == Some("lo"))
}
