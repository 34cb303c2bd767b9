//! Interfaces that appear, disappear, change and fail while we run.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::attachment::Attachment;
use super::interface::{self, NetworkInterface, Role};
use super::lock::InterfaceLock;
use super::netlink::Link;
use super::pods::DefaultRoutes;
use super::{Steering, chain};

/// An interface that the settings name, and that we can't attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachFailure {
    /// Its name.
    pub interface: String,
    /// What it is for.
    pub role: Role,
    /// Why.
    pub why: String,
}

impl Steering {
    /// Brings the attachments in line with these links: drops those whose interfaces are gone, and
    /// attaches to new interfaces. A failure is an [`AttachFailure`], and is retried on the next call.
    pub(super) fn follow(&mut self, links: &[Link]) {
        self.refresh(links);
        let mut selection = interface::select(&self.settings, links);
        selection.retain(|index, _| !self.attachments.contains_key(index));
        self.failures.retain(|index, _| selection.contains_key(index));
        for (interface, role) in selection.into_values() {
            self.try_attach((interface, role));
        }
        self.match_mtu();
    }

    /// Updates what is known of the attached interfaces, and drops those that are gone or no longer
    /// named. A renamed interface is still the same.
    pub(super) fn refresh(&mut self, links: &[Link]) {
        let mut gone = Vec::new();
        for (index, attachment) in &mut self.attachments {
            let renewed = attachment.interface.renewed(links);
            match renewed.filter(|it| it.role(&self.settings) == Some(attachment.role)) {
                Some(interface) => attachment.update_interface(interface),
                None => gone.push(*index),
            }
        }
        for index in gone {
            self.detach(index);
        }
        if let Err(error) = self.refresh_interface_flags() {
            let error = format!("{error:#}");
            tracing::warn!(error, "what is behind which interface stays as it was known");
        }
    }

    /// Removes everything from an interface that is gone or no longer named, the hold as well.
    pub(super) fn detach(&mut self, index: u32) {
        let Some(attachment) = self.attachments.remove(&index) else { return };
        tracing::warn!(interface = %attachment.interface, "an interface has gone");
        attachment.remove();
        self.low_fds.refill();
    }

    /// The default routes may have changed.
    fn refresh_interface_flags(&mut self) -> Result<()> {
        let routes = DefaultRoutes::read()?;
        for attachment in self.attachments.values_mut() {
            if attachment.role == Role::Protected {
                let flags = routes.interface_flags(&self.settings, &attachment.interface);
                attachment.set_interface_flags(&mut self.object, flags)?;
            }
        }
        Ok(())
    }

    /// Gives the veth the smallest MTU of the interfaces: what comes out of it has to fit.
    pub(super) fn match_mtu(&mut self) {
        let Some(mtu) = smallest_mtu(&self.attachments) else { return };
        match self.namespace.set_mtu(mtu) {
            Ok(true) => tracing::info!(mtu, "the way inside follows the interfaces' MTU"),
            Ok(false) => {}
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, mtu, "the way inside has another MTU than the interfaces");
            }
        }
    }

    /// The interfaces that should be steered and are not.
    pub fn failures(&self) -> impl Iterator<Item = &AttachFailure> {
        self.failures.values()
    }

    fn try_attach(&mut self, (interface, role): (NetworkInterface, Role)) {
        let (index, name) = (interface.index(), interface.name().to_owned());
        match self.attach_hotplugged((interface, role)) {
            Ok(()) => {
                self.failures.remove(&index);
                tracing::info!(interface = name, "an interface has come");
            }
            Err(error) => {
                let failure = AttachFailure { interface: name, role, why: format!("{error:#}") };
                // It is retried again and again; only a new reason is worth a line.
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

    fn attach_hotplugged(&mut self, (interface, role): (NetworkInterface, Role)) -> Result<()> {
        if let Some(why) = &self.broken {
            bail!("{why}");
        }
        let lock = InterfaceLock::take(&interface, &self.socket)?;
        chain::require_no_unlocked_instance(&interface)?;
        // Before the first connection arrives.
        let narrower =
            smallest_mtu(&self.attachments).map_or(interface.mtu(), |mtu| mtu.min(interface.mtu()));
        self.namespace.set_mtu(narrower)?;
        let index = interface.index();
        self.attach((interface, role), &DefaultRoutes::read()?, Some(lock))?;
        self.attachments.get_mut(&index).into_iter().for_each(Attachment::persist_hold);
        Ok(())
    }
}

/// The smallest MTU of the attached interfaces.
fn smallest_mtu(attachments: &BTreeMap<u32, Attachment>) -> Option<u32> {
    attachments.values().map(|attachment| attachment.interface.mtu()).min()
}
