//! Brings connections from the protected interfaces to our listeners. What happens to them there is not
//! this module's business. It alone uses aya and netlink.
//!
//! A [`Steering`] is everything that one process has in the kernel. It is built in an order in which
//! each step can fail without harm, with the step that touches traffic last, and is dropped in reverse
//! order: a failed start, an orderly stop and a panic all leave the machine as it was. Nothing that
//! steers is pinned, so a process that is killed takes its steering with it. The one exception is the
//! [`hold`], which keeps ports closed because a rule asks for it.
//!
//! Interfaces may come and go meanwhile, and others may change what is ours. [`Expected::observe`] looks
//! at what is there, and [`Steering::reconcile`] brings everything in line with it.
//!
//! Imports point one way, from the second of these layers to the first, and so on:
//!
//! 1. `netlink`, `refusal`, `hook`, `instance`, `rules`, `packet_log`: the kernel's interfaces, and
//!    what is decided without it
//! 2. `veth_setup`, `veth`, `namespace`, `interface`, `plan`, `reconcile`: what is to be there
//! 3. `lock`, `chain`, `clsact`: which other instances there are, and what they leave
//! 4. `object`, with `maps`, `down` and `pods` for its maps, `pinned`: programs and maps in the kernel
//! 5. `watched_link`, `classifier`, `guard`, `hold`: one program attached
//! 6. `program_links`, `attachment`: all programs of one place
//! 7. `observe`, `warnings`, `sweep`, `survey`: looking at the node
//! 8. [`Steering`] itself; its methods are here and in `start`, `hotplug`, `repair` and
//!    `takeover`
//!
//! Nothing here speaks of flags or of a file: a [`Refusal`] or a [`Warning`](warnings::Warning) is put
//! into the user's words by whoever shows it.

mod attachment;
mod bypass;
mod chain;
mod classifier;
mod clsact;
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
mod plan;
mod pods;
mod program_links;
mod reconcile;
mod refusal;
mod repair;
mod rules;
mod start;
pub mod survey;
pub mod sweep;
mod takeover;
mod typed_maps;
mod veth;
mod veth_setup;
pub mod warnings;
mod watched_link;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use proxy_common::Reason;
use proxy_common::abi::Stats;

use self::attachment::Attachment;
pub use self::bypass::Bypass;
pub use self::down::Down;
use self::down::DownMap;
use self::fwmark::Fwmark;
pub use self::hook::HookUsed;
pub use self::hotplug::AttachFailure;
use self::instance::Instance;
use self::interface::NetworkInterface;
pub use self::interface::Role;
use self::lock::{InterfaceLock, Predecessor, TakeoverSocket};
pub use self::lock::{ListenerLock, Successor, listener_owner};
use self::namespace::PrivateNamespace;
use self::object::Object;
pub use self::observe::{Expected, Observation};
use self::pinned::TrackedSocket;
use self::plan::Plan;
use self::pods::DefaultRoutes;
use self::program_links::ProgramLinks;
pub use self::refusal::{GuardUsed, Refusal};
pub use self::repair::Repairs;
use self::warnings::Warning;
use crate::address::{OriginalDst, PeerAddr};
use crate::config::settings;
use crate::config::{Names, Settings};
use crate::sys::cgroup::Cgroup;
use crate::sys::low_fds::LowFds;
use crate::sys::netns::Namespace;

/// How many low descriptors are kept for interfaces that come later. More links get ordinary ones.
const LOW_FDS_FOR_HOTPLUG: usize = 256;

/// An interface that we are attached to.
#[derive(Clone, Copy, Debug)]
pub struct Attached<'a> {
    /// Its name.
    pub interface: &'a str,
    /// What it is for.
    pub role: Role,
    /// How we are attached to TC.
    pub hook: HookUsed,
    /// Where the guard runs, if it does.
    pub guard: Option<GuardUsed>,
}

/// A process's steering, from the interfaces to the listeners. Dropping it removes it, beginning with
/// what is on the interfaces.
#[derive(Debug)]
pub struct Steering {
    // The fields are dropped in this order.
    attachments: BTreeMap<u32, Attachment>,
    links: ProgramLinks,
    object: Object,
    namespace: PrivateNamespace,
    cgroup: Option<Cgroup>,
    instance: Instance,
    low_fds: LowFds,
    settings: settings::Steering,
    plan: Plan,
    /// The interfaces that we can't attach to.
    failures: BTreeMap<u32, AttachFailure>,
    /// Why nothing can be steered, if nothing can.
    broken: Option<String>,
    repairs: Repairs,
    /// The processes that were asked to hand over, until they are done with us.
    predecessors: Vec<Predecessor>,
    socket: TakeoverSocket,
    mark: Option<Fwmark>,
    down: DownMap,
}

impl Steering {
    /// How many low descriptors to reserve before anything else is opened.
    pub fn low_fds(settings: &Settings) -> usize {
        let steering = &settings.steering;
        let exact = steering.named().filter(|pattern| pattern.exact().is_some()).count();
        let later = if exact < steering.named().count() { LOW_FDS_FOR_HOTPLUG } else { 0 };
        ProgramLinks::COUNT + exact * Plan::LINKS + later
    }

    /// From now on ports stay closed without us where their rule asks for it. To be called when nothing
    /// can fail any more.
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
        let flags = routes.interface_flags(&self.settings, &interface.0);
        let Self { object, plan, low_fds, .. } = self;
        let attachment = Attachment::attach(object, interface, flags, lock, *plan, low_fds)?;
        self.attachments.insert(index, attachment);
        Ok(())
    }

    /// Applies other settings to new connections, which must be
    /// [movable](crate::config::change::movable). Open connections are still steered, whichever ports
    /// are gone. An error leaves everything as it was.
    pub fn apply(&mut self, settings: &Settings) -> Result<()> {
        let links = netlink::run(async |handle| netlink::links(&handle).await)?;
        self.object.set_rules(settings)?;
        self.settings = settings.steering.clone();
        self.follow(&links);
        Ok(())
    }

    /// Has first packets to these upstreams, and to no others, answered with a reset from now on.
    pub fn set_down<'a>(&mut self, down: impl IntoIterator<Item = Down<'a>>) -> Result<()> {
        self.down.set(&mut self.object, down)
    }

    /// How long ago a first packet to a destination that is down was last refused; `None` if none was.
    pub fn last_refused(&self, destination: OriginalDst) -> Result<Option<Duration>> {
        down::last_refused(&self.object, destination)
    }

    /// Leaves new connections alone from now on. Open ones are still steered.
    pub fn stop_new(&mut self) -> Result<()> {
        self.object.retire_all()
    }

    /// Whether the private namespace still has handshakes or connections, including those that we have
    /// closed but that still have bytes or a FIN to send.
    pub fn is_busy(&self) -> Result<bool> {
        self.namespace.is_busy()
    }

    /// Writes the relay's counters where `bpftool` can see them.
    pub fn publish(&mut self, counts: impl IntoIterator<Item = (Reason, u64)>) -> Result<()> {
        self.object.publish(counts)
    }

    /// Removes what earlier rules have left in the maps.
    pub fn tidy(&mut self) -> Result<()> {
        self.object.remove_stale_ranges()
    }

    /// The packet counters, added up over all CPUs.
    pub fn stats(&self) -> Result<Stats> {
        self.object.stats()
    }

    /// The last SYN-ACK that was dropped because it had bypassed steering, if there was one.
    pub fn bypass(&self) -> Result<Option<Bypass>> {
        let found = self.object.bypass()?;
        if found.egress_ifindex == 0 {
            return Ok(None);
        }
        let links = netlink::run(async |handle| netlink::links(&handle).await)?;
        Ok(Some(Bypass::new(&found, &links)))
    }

    /// The packets that were dropped, by the reason's number.
    pub fn drops(&self) -> Result<Vec<u64>> {
        self.object.drops()
    }

    /// The mark that upstream sockets must carry, if steering could meet their packets.
    pub fn upstream_mark(&self) -> Option<u32> {
        self.mark.as_ref().map(Fwmark::value)
    }

    /// The private namespace, where a socket can have a client's address.
    pub fn private_namespace(&self) -> &Namespace {
        self.namespace.namespace()
    }

    /// What the settings ask for and this node will not give.
    pub fn warnings(&self, settings: &Settings, names: &Names) -> Vec<Warning> {
        let rules = &settings.rules;
        let is_watched = |link| self.attachments.contains_key(&link);
        let mut warnings = Vec::from_iter(warnings::on_reverse_path(rules));
        warnings.extend(warnings::on_upstreams(rules, names, is_watched));
        warnings.extend(warnings::on_source_addresses(rules));
        warnings
    }

    /// How we are attached to TC.
    pub fn hook(&self) -> HookUsed {
        self.plan.hook
    }

    /// Whether ports are held while no Foreword runs.
    pub fn has_hold(&self) -> bool {
        self.plan.hold
    }

    /// Whether live connections are tracked.
    pub fn is_tracking(&self) -> bool {
        self.cgroup.is_some()
    }

    /// The name of the veth that leads into the private namespace.
    pub fn veth(&self) -> &str {
        self.namespace.veth_name()
    }

    /// Where the maps are pinned.
    pub fn pins(&self) -> &Path {
        self.instance.directory()
    }

    /// Returns a function that tells whether one of the node's own pods has opened a connection.
    pub fn pods(&self) -> Result<impl Fn(PeerAddr, OriginalDst) -> bool + Send + Sync + use<>> {
        self.object.pods()
    }

    /// The instance's number.
    pub fn instance(&self) -> u32 {
        self.instance.number()
    }

    /// The interfaces that we are attached to.
    pub fn attached(&self) -> impl Iterator<Item = Attached<'_>> {
        self.attachments.values().map(|attachment| Attached {
            interface: attachment.interface.name(),
            role: attachment.role,
            hook: self.plan.hook,
            guard: attachment.guard,
        })
    }

    /// Our sockets, as the kernel tracks them.
    pub fn tracked(&self) -> Result<Vec<TrackedSocket>> {
        self.object.sockets()
    }

    /// The interfaces whose ports stay closed when the process ends.
    pub fn held(&self) -> Vec<String> {
        let held = self.attachments.values().filter(|attachment| attachment.is_held());
        held.map(|attachment| attachment.interface.to_string()).collect()
    }
}
