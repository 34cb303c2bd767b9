//! The start of steering, in an order in which each step can fail without harm: whatever touches traffic
//! comes last.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use proxy_common::abi::{ABI_VERSION, NODE_ANSWERS, NODE_REPLY_BY_ARRIVAL, Node};

use super::Steering;
use super::down::DownMap;
use super::fwmark::Fwmark;
use super::instance::Instance;
use super::interface::{self, NetworkInterface, Role, Selection};
use super::lock::{InterfaceLock, SuccessorSender, TakeoverSocket};
use super::namespace::PrivateNamespace;
use super::object::Object;
use super::plan::Plan;
use super::pods::DefaultRoutes;
use super::program_links::ProgramLinks;
use super::repair::Repairs;
use super::{chain, netlink, sweep};
use crate::config::Settings;
use crate::config::settings::{self, Reply};
use crate::sys::cgroup::Cgroup;
use crate::sys::low_fds::LowFds;
use crate::sys::socket::Listeners;

/// The veth's MTU while there is no interface to follow.
const DEFAULT_MTU: u32 = 1500;

impl Steering {
    /// Starts steering, and returns the listeners of each of the `workers`. Needs a tokio runtime.
    /// Successors are sent to `successors`.
    ///
    /// With a takeover, another instance may steer the interfaces. Its programs then come behind ours,
    /// and only get the packets of its own connections, until [`Steering::take_over`] asks it to end.
    pub fn start(
        settings: &Settings,
        workers: usize,
        mut low_fds: LowFds,
        successors: SuccessorSender,
    ) -> Result<(Self, Vec<Listeners>)> {
        let plan = Plan::new(settings)?;
        let links = netlink::run(async |handle| netlink::links(&handle).await)?;
        interface::require_named(&settings.steering, &links)?;
        let selection = interface::select(&settings.steering, &links);
        let socket = TakeoverSocket::open(successors)?;
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
            PrivateNamespace::build(instance.number(), mtu.unwrap_or(DEFAULT_MTU), mark.is_some())?;
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
}

/// An interface to attach to, and its lock.
type Locked = ((NetworkInterface, Role), Option<InterfaceLock>);

/// Takes the lock of every interface, or of none. With a takeover, a predecessor may still have some.
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

/// Tracking only serves observation: without a cgroup to attach to, everything else works.
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

/// Whether `lo` is protected, where our own connections to servers of this node would be steered, too.
fn on_loopback(settings: &settings::Steering) -> bool {
    settings.interfaces.iter().any(|pattern| pattern.exact() == Some("lo"))
}
