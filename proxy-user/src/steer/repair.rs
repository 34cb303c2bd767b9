//! Restores what others have removed or changed in the kernel.
//!
//! If that fails, and connections would wait for an answer for ever, steering stops until it succeeds:
//! new connections flow past us, or are held where their rule asks for it, and open ones are reset.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use proxy_common::abi::Node;
use proxy_common::names::RETURN;

use super::Steering;
use super::hotplug::AttachFailure;
use super::netlink;
use super::observe::{Expected, Observation};
use super::reconcile::Component;

/// How often something of ours was restored, by its kind, or could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// It is there again.
    pub made: BTreeMap<&'static str, u64>,
    /// It is not.
    pub failed: BTreeMap<&'static str, u64>,
}

impl Steering {
    /// What must be in the kernel, to be [observed](Expected::observe) on another thread.
    pub fn expected(&mut self) -> Result<Expected> {
        let mut programs: BTreeMap<_, _> = self.links.expected().collect();
        for attachment in self.attachments.values() {
            programs.extend(attachment.expected(&mut self.object)?);
        }
        Ok(Expected {
            programs,
            ends: self.namespace.ends().clone(),
            namespace: self.namespace.namespace().try_clone().context("cannot share a file")?,
            namespace_id: self.namespace.id(),
        })
    }

    /// Restores what an observation found missing, and attaches to new interfaces.
    pub fn reconcile(&mut self, observation: &Observation) {
        self.repair_only(observation);
        if observation.missing.is_empty() {
            self.follow(&observation.links);
            return;
        }
        // If something is missing, an interface may just be disappearing.
        match netlink::run(async |handle| netlink::links(&handle).await) {
            Ok(links) => self.follow(&links),
            Err(error) => {
                tracing::warn!(error = %format!("{error:#}"), "cannot look at the interfaces");
            }
        }
    }

    /// Restores what an observation found missing, and attaches to no new interfaces.
    pub fn repair_only(&mut self, observation: &Observation) {
        self.refresh(&observation.links);
        self.update_veth(observation);
        self.match_mtu();
        if observation.missing.is_empty() && self.broken.is_none() {
            return;
        }
        // Time has passed since the observation: something may be there again, or gone for good.
        let observed = self.expected().and_then(|expected| expected.observe());
        match observed {
            Ok(observation) => {
                self.update_veth(&observation);
                self.repair(&observation.missing);
            }
            Err(error) => {
                tracing::warn!(error = %format!("{error:#}"), "cannot look for what is missing");
            }
        }
    }

    /// Notes the veth's current properties.
    fn update_veth(&mut self, observation: &Observation) {
        let Some(ends) = &observation.ends else { return };
        let has_moved = ends.inner.address != self.namespace.ends().inner.address;
        self.namespace.update_ends(ends.clone());
        if has_moved && let Err(error) = self.tell_of_veth() {
            tracing::warn!(error = %format!("{error:#}"), "the programs don't know the veth");
        }
    }

    /// Tells the programs where the veth is.
    fn tell_of_veth(&mut self) -> Result<()> {
        let Self { object, namespace, .. } = self;
        let inner = namespace.inner_address();
        object.change_node(|node| Node {
            veth: namespace.veth_index(),
            private_ns: namespace.id(),
            inner,
            ..node
        })
    }

    fn repair(&mut self, missing: &[Component]) {
        let mut held = BTreeSet::new();
        for &part in missing {
            // One repair restores all of a hold.
            if matches!(part, Component::Hold { index, .. } if !held.insert(index)) {
                continue;
            }
            // The attachment may have failed as a whole.
            if part.interface().is_some_and(|index| !self.attachments.contains_key(&index)) {
                continue;
            }
            let on = part.interface().and_then(|index| self.attachments.get(&index));
            let on = on.map_or_else(String::new, |on| format!(" on {}", on.interface));
            match self.make(part) {
                Ok(()) => {
                    tracing::warn!("{part}{on} had gone, and is there again: somebody changes it");
                    *self.repairs.made.entry(part.kind()).or_default() += 1;
                }
                Err(_) if part.interface().is_some_and(has_gone) => {
                    part.interface().into_iter().for_each(|index| self.detach(index));
                }
                Err(error) => {
                    *self.repairs.failed.entry(part.kind()).or_default() += 1;
                    let why = format!("{part}{on} is gone, and can't be made again: {error:#}");
                    if self.give_up(part, why) {
                        return;
                    }
                }
            }
        }
        if self.broken.take().is_some() {
            tracing::warn!("the way inside is whole again");
        }
    }

    fn make(&mut self, part: Component) -> Result<()> {
        let Self { object, plan, low_fds, namespace, links, attachments, cgroup, .. } = self;
        match part {
            Component::Veth => {
                namespace.rebuild()?;
                self.tell_of_veth()?;
                self.make(Component::Return).with_context(|| format!("no {RETURN}"))
            }
            Component::Setup(item) => namespace.make(&BTreeSet::from([item])),
            Component::Lookup => {
                links.forget(part);
                low_fds.refill();
                links.attach_lookup(object, namespace, low_fds)
            }
            Component::Return => {
                // Before the new one is there, which dropping the old one could detach.
                links.forget(part);
                low_fds.refill();
                let veth = (namespace.veth_name(), namespace.veth_index());
                links.attach_return(object, veth, plan.hook, low_fds)
            }
            Component::Track => {
                links.forget(part);
                low_fds.refill();
                cgroup.as_ref().map_or(Ok(()), |cgroup| links.attach_track(object, cgroup, low_fds))
            }
            Component::Guard { index } => match attachments.get_mut(&index) {
                Some(on) => on.reattach_guard(object, *plan, low_fds),
                None => Ok(()),
            },
            Component::Classifier { index, name } => match attachments.get_mut(&index) {
                Some(on) => on.reattach_tc(object, name, *plan, low_fds),
                None => Ok(()),
            },
            Component::Hold { index, .. } => match attachments.get_mut(&index) {
                Some(on) => on.reattach_hold(object, *plan),
                None => Ok(()),
            },
        }
    }

    /// Goes on without a component; returns whether nothing is steered any more.
    fn give_up(&mut self, part: Component, why: String) -> bool {
        match part {
            Component::Track | Component::Hold { .. } | Component::Guard { .. } => {
                tracing::error!("{why}");
            }
            Component::Classifier { index, .. } => {
                tracing::error!("{why}: this interface is not steered");
                self.fail(index, &why);
            }
            Component::Veth | Component::Setup(_) | Component::Lookup | Component::Return => {
                // It is retried again and again; only a new reason is worth a line.
                if self.broken.as_ref() != Some(&why) {
                    tracing::error!("{why}: nothing is steered until it can");
                }
                for index in self.attachments.keys().copied().collect::<Vec<_>>() {
                    self.fail(index, &why);
                }
                self.broken = Some(why);
                return true;
            }
        }
        false
    }

    /// Removes everything from an interface except its hold, until we can attach again.
    fn fail(&mut self, index: u32, why: &str) {
        let Some(attachment) = self.attachments.remove(&index) else { return };
        let interface = attachment.interface.name().to_owned();
        let failure = AttachFailure { interface, role: attachment.role, why: why.to_owned() };
        self.failures.insert(index, failure);
        drop(attachment);
        self.low_fds.refill();
    }

    /// How often something was repaired.
    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }
}

/// Whether there is no interface with this index any more.
fn has_gone(index: u32) -> bool {
    netlink::run(async |handle| netlink::link_at(&handle, index).await).is_ok_and(|it| it.is_none())
}
