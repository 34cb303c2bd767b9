//! Brings connections from the protected interfaces to our listeners, and nothing else; what
//! happens to them there is not this room's business. The only user of aya and of netlink.
//!
//! A [`Steering`] is the whole machinery of one process. It is built in an order in which each
//! step can fail without harm, with the step that touches traffic last, and is taken down the
//! other way round, by its fields' order and their `Drop`s alone: an error half-way, an orderly
//! stop and a panic all leave the machine as it was. Nothing that steers is pinned, so a process
//! that is killed takes its steering with it.

mod attach;
mod namespace;
mod netlink;
mod object;
mod pins;
pub mod sweep;
mod sysctl;
mod veth;

use anyhow::{Context as _, Result};
use proxy_common::Reason;
use proxy_common::abi::{ABI_VERSION, Node, Stats};
use proxy_common::names::UPSTREAM_MARK;

pub use self::attach::HookUsed;
use self::attach::{InterfaceLock, NetworkInterface};
use self::namespace::PrivateNamespace;
use self::object::{Links, Object};
use self::pins::Instance;
use crate::config::Settings;
use crate::sys::cgroup::Cgroup;
use crate::sys::slots::Slots;
use crate::sys::socket::Listeners;

/// A process's steering, from the interfaces to the listeners. Dropping it takes it down, the
/// links on the interfaces first.
#[derive(Debug)]
pub struct Steering {
    // Fields are dropped in this order.
    _links: Links,
    object: Object,
    namespace: PrivateNamespace,
    cgroup: Option<Cgroup>,
    instance: Instance,
    interfaces: Vec<NetworkInterface>,
    hook: HookUsed,
    _locks: Vec<InterfaceLock>,
}

impl Steering {
    /// Builds it for `workers` workers, and returns the listeners of each.
    pub fn start(
        settings: &Settings,
        workers: usize,
        slots: &mut Slots,
    ) -> Result<(Self, Vec<Listeners>)> {
        let hook = HookUsed::choose(settings.hook)?;
        let interfaces = attach::find(&settings.interfaces)?;
        let locks = interfaces.iter().map(InterfaceLock::take).collect::<Result<Vec<_>>>()?;
        sweep::dead_instances().context("cannot sweep what an earlier run left")?;
        let instance = Instance::claim()?;
        let mut object = Object::load()?;
        let cgroup = enter_cgroup(&instance);
        let namespace = PrivateNamespace::build(instance.number(), &interfaces)?;
        let listeners = namespace.listeners(workers)?;
        object.set_rules(settings)?;
        object.set_node(Node {
            abi: ABI_VERSION,
            veth: namespace.veth_index(),
            private_ns: namespace.id(),
            own_mark: upstream_mark_for(&interfaces).unwrap_or(0),
        })?;
        if let Some(first) = listeners.first() {
            object.set_listeners(first)?;
        }
        object.pin(instance.folder())?;
        let mut links = Links::default();
        if let Some(cgroup) = &cgroup {
            links.attach_track(&mut object, cgroup, slots)?;
        }
        links.attach_lookup(&mut object, &namespace, slots)?;
        links.attach_return(&mut object, namespace.veth_name(), hook, slots)?;
        for interface in &interfaces {
            links.attach_steer(&mut object, interface, hook, slots)?;
        }
        let steering = Self {
            _links: links,
            object,
            namespace,
            cgroup,
            instance,
            interfaces,
            hook,
            _locks: locks,
        };
        Ok((steering, listeners))
    }

    /// Lets new connections go past us from now on. The ones that are ours are still steered.
    pub fn stop_new(&mut self) -> Result<()> {
        self.object.clear_listeners()
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

    /// The packet counters, added up over all CPUs.
    pub fn stats(&self) -> Result<Stats> {
        self.object.stats()
    }

    /// The mark that upstream sockets must carry, if steering could meet them.
    pub fn upstream_mark(&self) -> Option<u32> {
        upstream_mark_for(&self.interfaces)
    }

    /// How it is attached, one fact a line, for a person to read.
    pub fn describe(&self) -> Vec<String> {
        let names: Vec<_> = self.interfaces.iter().map(ToString::to_string).collect();
        let mut lines = vec![
            format!("steering  {} ({} ingress)", names.join(", "), self.hook),
            format!("through   {} into a private network namespace", self.namespace.veth_name()),
            format!("maps      {}", self.instance.folder().display()),
        ];
        if self.cgroup.is_none() {
            lines.push("tracking  off: no cgroup2 file system is mounted".to_owned());
        }
        lines
    }
}

/// Tracking is for sight only: without a cgroup to attach to, everything else works.
fn enter_cgroup(instance: &Instance) -> Option<Cgroup> {
    Cgroup::enter(instance.number())
        .inspect_err(|error| tracing::warn!(%error, "live connections are not tracked"))
        .ok()
}

/// On `lo`, our own connections to a server of this node would be steered back to us.
fn upstream_mark_for(interfaces: &[NetworkInterface]) -> Option<u32> {
    interfaces.iter().any(NetworkInterface::is_loopback).then_some(UPSTREAM_MARK)
}
