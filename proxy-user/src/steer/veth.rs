//! The pair of virtual links between the node and the private namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, bail};
use proxy_common::names::{VETH_INDEX_BASE, VETH_INDICES, VETH_INNER, VETH_PREFIX};
use rtnetlink::Handle;

use super::netlink::{self, Link};
use super::sysctl;
use crate::address::PRIVATE_LINK;
use crate::sys::netns::Namespace;

/// The host end's addresses as the private namespace knows them, and the inner end's own, for what the
/// namespace sends in its own name. Nobody else knows them.
const GATEWAY_V4: Ipv4Addr = PRIVATE_LINK[0];
const INNER_V4: Ipv4Addr = PRIVATE_LINK[1];
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x77, 1);
/// The routing table that delivers everything; any number, since the namespace is ours.
const TABLE: u32 = 100;

/// The name of instance `number`'s host end.
pub fn host_end(number: u32) -> String {
    format!("{VETH_PREFIX}{number}")
}

/// Tells our host ends from anybody's link that happens to have such a name.
const ALIAS: &str = "Foreword";

/// The number of the instance whose host end this is; `None` if it is none.
pub fn instance_of(link: &Link) -> Option<u32> {
    (link.alias == ALIAS).then_some(())?;
    link.name.strip_prefix(VETH_PREFIX)?.parse().ok()
}

/// The pair; dropping it deletes both ends.
#[derive(Debug)]
pub struct Veth {
    host: Link,
    inner: Link,
    mtu: u32,
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
        meets_own_addresses: bool,
    ) -> Result<Self> {
        let name = host_end(number);
        let host = netlink::here(async |handle| {
            add(&handle, &name, number, mtu, namespace).await?;
            require(&handle, &name).await
        })?;
        let namespace_id = host.peer_namespace.context("the kernel gave the namespace no id")?;
        let inner = netlink::inside(namespace, async |handle| require(&handle, VETH_INNER).await);
        let veth = Self { host, inner: inner?, mtu, namespace_id };
        veth.prepare_host_end(meets_own_addresses)?;
        let Self { host, inner, .. } = &veth;
        netlink::inside(namespace, async |handle| {
            prepare_inner_end(&handle, inner.index, &host.address).await
        })?;
        Ok(veth)
    }

    /// Makes the pair fit an interface of this MTU as well, in bytes.
    pub fn fit(&mut self, mtu: u32, namespace: &Namespace) -> Result<()> {
        if mtu >= self.mtu {
            return Ok(());
        }
        let (host, inner) = (self.host.index, self.inner.index);
        netlink::inside(namespace, async |handle| netlink::set_mtu(&handle, inner, mtu).await)?;
        netlink::here(async |handle| netlink::set_mtu(&handle, host, mtu).await)?;
        self.mtu = mtu;
        Ok(())
    }

    /// The inner end's link-layer address.
    pub fn inner_address(&self) -> &[u8] {
        &self.inner.address
    }

    /// The host end's name.
    pub fn name(&self) -> &str {
        &self.host.name
    }

    /// The host end's index.
    pub fn index(&self) -> u32 {
        self.host.index
    }

    /// The return program asks the routing table as for a packet to be forwarded from here. Who
    /// switches forwarding off for the node switches it off here, too; this switches it on again.
    pub fn keep_forwarding(&self) -> Result<()> {
        for family in ["ipv4", "ipv6"] {
            let forwarding = format!("{family}/conf/{}/forwarding", self.name());
            if sysctl::get(&forwarding).is_some_and(|value| value != "1") {
                sysctl::set(&forwarding, "1")?;
            }
        }
        Ok(())
    }

    fn prepare_host_end(&self, meets_own_addresses: bool) -> Result<()> {
        let name = self.name();
        self.keep_forwarding()?;
        sysctl::set(&format!("ipv4/conf/{name}/rp_filter"), "0")?;
        if meets_own_addresses {
            sysctl::set(&format!("ipv4/conf/{name}/accept_local"), "1")?;
        }
        if sysctl::has_ipv6() {
            sysctl::set(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
            sysctl::set(&format!("ipv6/conf/{name}/accept_dad"), "0")?;
        }
        let index = self.index();
        netlink::here(async |handle| {
            netlink::set_alias(&handle, index, ALIAS).await?;
            netlink::set_up(&handle, index).await
        })
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let index = self.index();
        if let Err(error) = netlink::here(async |handle| netlink::delete(&handle, index).await) {
            tracing::warn!(%error, name = self.name(), "this veth was left behind");
        }
    }
}

/// In the private namespace: take everything in, whoever it is for, and send everything out.
async fn prepare_inner_end(handle: &Handle, inner: u32, gateway_address: &[u8]) -> Result<()> {
    let ipv6 = sysctl::has_ipv6();
    sysctl::set(&format!("ipv4/conf/{VETH_INNER}/rp_filter"), "0")?;
    sysctl::set("ipv4/conf/all/rp_filter", "0")?;
    sysctl::set(&format!("ipv4/conf/{VETH_INNER}/accept_local"), "1")?;
    sysctl::set("ipv4/tcp_mtu_probing", "1")?;
    if ipv6 {
        sysctl::set(&format!("ipv6/conf/{VETH_INNER}/accept_ra"), "0")?;
        sysctl::set(&format!("ipv6/conf/{VETH_INNER}/accept_dad"), "0")?;
    }
    netlink::set_up(handle, netlink::LOOPBACK).await?;
    netlink::set_up(handle, inner).await?;
    let own = handle.address().add(inner, INNER_V4.into(), 32).execute().await;
    own.context("cannot give the inner end its address")?;
    let gateway = IpAddr::V4(GATEWAY_V4);
    netlink::route_all_via(handle, inner, gateway, gateway_address).await?;
    netlink::deliver_all_v4(handle, VETH_INNER).await?;
    if ipv6 {
        let gateway = IpAddr::V6(GATEWAY_V6);
        netlink::route_all_via(handle, inner, gateway, gateway_address).await?;
        netlink::deliver_all_v6(handle, VETH_INNER, TABLE).await?;
    }
    Ok(())
}

/// How many indices are tried.
const ATTEMPTS: u32 = 64;

/// Makes the pair, with an index that the programs know for one of our host ends.
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
