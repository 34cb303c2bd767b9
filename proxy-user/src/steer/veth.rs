//! The veth pair between the node and the private namespace.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use proxy_common::names::{VETH_INDEX_BASE, VETH_INDICES, VETH_INNER, VETH_PREFIX};
use rtnetlink::Handle;

use super::netlink::{self, Link};
use super::veth_setup::{ALIAS, SetupItem, VethEnds};
use crate::sys::netns::Namespace;

/// The name of instance `number`'s host end.
pub fn host_end(number: u32) -> String {
    format!("{VETH_PREFIX}{number}")
}

/// The number of the instance whose host end a link is; `None` if it is another link.
pub fn instance_of(link: &Link) -> Option<u32> {
    (link.alias == ALIAS).then_some(())?;
    link.name.strip_prefix(VETH_PREFIX)?.parse().ok()
}

/// The veth pair. Both ends are deleted when it is dropped.
#[derive(Debug)]
pub struct Veth {
    number: u32,
    ends: VethEnds,
    /// The private namespace's id, as the host's namespace sees it.
    pub namespace_id: u32,
}

impl Veth {
    /// Makes the pair and prepares both ends. `meets_own_addresses`: packets with one of the
    /// node's own addresses as their source are to be taken, too.
    pub fn build(
        number: u32,
        namespace: &Namespace,
        mtu: u32,
        accepts_own_addresses: bool,
    ) -> Result<Self> {
        let ends = make_pair(number, namespace, mtu, accepts_own_addresses)?;
        let namespace_id = ends.host.peer_namespace;
        let namespace_id = namespace_id.context("the kernel gave the namespace no id")?;
        // From now on an error deletes it.
        let veth = Self { number, ends, namespace_id };
        veth.ends.make(&veth.ends.items(), namespace)?;
        Ok(veth)
    }

    /// Makes it again after somebody has removed it. What was attached to the host end has to be
    /// attached again.
    pub fn rebuild(&mut self, namespace: &Namespace) -> Result<()> {
        // An end that was moved or renamed may still be there, and in the way.
        let index = self.ends.host.index;
        let _ = netlink::run(async |handle| netlink::delete(&handle, index).await);
        let _ = netlink::run_in(namespace, async |handle| {
            let inner = require(&handle, VETH_INNER).await?;
            netlink::delete(&handle, inner.index).await
        });
        let VethEnds { host, accepts_own_addresses, .. } = &self.ends;
        self.ends = make_pair(self.number, namespace, host.mtu, *accepts_own_addresses)?;
        self.namespace_id =
            self.ends.host.peer_namespace.context("the kernel gave the namespace no id")?;
        self.ends.make(&self.ends.items(), namespace)
    }

    /// Sets the MTU of both ends, in bytes; returns whether it was another one.
    pub fn set_mtu(&mut self, mtu: u32, namespace: &Namespace) -> Result<bool> {
        let VethEnds { host, inner, .. } = &mut self.ends;
        if host.mtu == mtu && inner.mtu == mtu {
            return Ok(false);
        }
        let (outside, inside) = (host.index, inner.index);
        netlink::run_in(namespace, async |handle| netlink::set_mtu(&handle, inside, mtu).await)?;
        netlink::run(async |handle| netlink::set_mtu(&handle, outside, mtu).await)?;
        (host.mtu, inner.mtu) = (mtu, mtu);
        Ok(true)
    }

    /// Restores items of its setup.
    pub fn make(&self, items: &BTreeSet<SetupItem>, namespace: &Namespace) -> Result<()> {
        self.ends.make(items, namespace)
    }

    /// Both ends, as they were last seen.
    pub fn ends(&self) -> &VethEnds {
        &self.ends
    }

    /// Notes their current properties: somebody may have changed a name, an address or an MTU.
    pub fn update_ends(&mut self, ends: VethEnds) {
        self.ends = ends;
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let (Link { index, name, .. }, namespace) = (&self.ends.host, Some(self.namespace_id));
        let deleted =
            netlink::run(async |handle| match netlink::link_at(&handle, *index).await? {
                Some(link) if link.peer_namespace == namespace => {
                    netlink::delete(&handle, *index).await
                }
                // It is gone already, and another link may have that index.
                _ => Ok(()),
            });
        if let Err(error) = deleted {
            tracing::warn!(%error, name, "this veth was left behind");
        }
    }
}

/// How many indices are tried.
const ATTEMPTS: u32 = 64;

/// Makes a pair that isn't set up yet, with its inner end in the namespace.
fn make_pair(
    number: u32,
    namespace: &Namespace,
    mtu: u32,
    accepts_own_addresses: bool,
) -> Result<VethEnds> {
    let name = host_end(number);
    let host = netlink::run(async |handle| {
        add(&handle, &name, number, mtu, namespace).await?;
        require(&handle, &name).await
    })?;
    let inner = netlink::run_in(namespace, async |handle| require(&handle, VETH_INNER).await)?;
    Ok(VethEnds { host, inner, accepts_own_addresses })
}

/// Makes the pair, with an index by which the programs recognise our host ends.
async fn add(
    handle: &Handle,
    name: &str,
    number: u32,
    mtu: u32,
    namespace: &Namespace,
) -> Result<()> {
    for attempt in 0..ATTEMPTS {
        let index = VETH_INDEX_BASE + number.wrapping_add(attempt) % VETH_INDICES;
        if netlink::add_veth(handle, (name, index), VETH_INNER, mtu, namespace).await? {
            return Ok(());
        }
    }
    bail!("cannot make veth {name}: there is one of that name, or of each index that was tried")
}

async fn require(handle: &Handle, name: &str) -> Result<Link> {
    netlink::link(handle, name).await?.with_context(|| format!("interface {name} has vanished"))
}
