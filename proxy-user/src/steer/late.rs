//! Interfaces that come, go and fail while we run.

use std::collections::BTreeMap;

use anyhow::Result;

use super::attachment::Attachment;
use super::interface::{self, NetworkInterface, Role};
use super::lock::InterfaceLock;
use super::netlink::Link;
use super::pods::Sources;
use super::{Steering, chain, netlink};

/// An interface that is ours by the settings, and can't be attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub interface: String,
    /// What it is for.
    pub role: Role,
    /// Why.
    pub why: String,
}

impl Steering {
    /// Lets go of interfaces that are gone or have another name now, and attaches to those that
    /// are there and weren't. One that can't be attached to is a [`Failure`], and is tried again
    /// with the next look.
    pub fn look_again(&mut self) -> Result<()> {
        let links = self.look()?;
        self.follow(&links);
        Ok(())
    }

    /// The interfaces that are there.
    pub(super) fn look(&mut self) -> Result<Vec<Link>> {
        self.namespace.keep_up()?;
        netlink::here(async |handle| netlink::links(&handle).await)
    }

    /// Brings what is attached in line with these.
    pub(super) fn follow(&mut self, links: &[Link]) {
        let mut selection = interface::select(&self.settings, links);
        let (stay, gone): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.attachments).into_iter().partition(|(index, attachment)| {
                selection.get(index).is_some_and(|(interface, role)| {
                    interface.name() == attachment.interface.name() && *role == attachment.role
                })
            });
        self.attachments = stay;
        for attachment in gone.into_values() {
            tracing::warn!(interface = %attachment.interface, "an interface has gone");
            attachment.abandon();
            self.slots.refill();
        }
        if let Err(error) = self.look_at_sources() {
            let error = format!("{error:#}");
            tracing::warn!(error, "what is behind which interface stays as it was known");
        }
        selection.retain(|index, _| !self.attachments.contains_key(index));
        self.failures.retain(|index, _| selection.contains_key(index));
        for (interface, role) in selection.into_values() {
            self.try_late((interface, role));
        }
    }

    /// A default route may lead by another interface now.
    fn look_at_sources(&mut self) -> Result<()> {
        let sources = Sources::look()?;
        for attachment in self.attachments.values_mut() {
            if attachment.role == Role::Protected {
                let flags = sources.flags(&self.settings, &attachment.interface);
                attachment.tell_of_sources(&mut self.object, flags)?;
            }
        }
        Ok(())
    }

    /// The interfaces that should be steered and are not.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.failures.values()
    }

    fn try_late(&mut self, (interface, role): (NetworkInterface, Role)) {
        let (index, name) = (interface.index(), interface.name().to_owned());
        match self.attach_late((interface, role)) {
            Ok(()) => {
                self.failures.remove(&index);
                tracing::info!(interface = name, "an interface has come");
            }
            Err(error) => {
                let failure = Failure { interface: name, role, why: format!("{error:#}") };
                // It is tried over and over, and worth a line when there is something new to say.
                if self.failures.get(&index) != Some(&failure) {
                    tracing::error!(
                        error = failure.why,
                        interface = failure.interface,
                        "an interface has come, and can't be attached to: it is not steered"
                    );
                }
                self.failures.insert(index, failure);
            }
        }
    }

    fn attach_late(&mut self, (interface, role): (NetworkInterface, Role)) -> Result<()> {
        let lock = InterfaceLock::take(&interface, &self.socket)?;
        chain::require_no_stranger(&interface)?;
        self.namespace.fit(interface.mtu())?;
        let index = interface.index();
        self.attach((interface, role), Some(lock))?;
        self.attachments.get_mut(&index).into_iter().for_each(Attachment::keep_hold);
        Ok(())
    }
}
