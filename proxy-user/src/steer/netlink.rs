//! Requests to the kernel about links, what is attached to them and what is behind them (rtnetlink).

pub mod routes;
pub mod tc;

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context as _, Result, anyhow, bail};
use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
    LinkXdp, Prop,
};
use nix::errno::Errno;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, new_connection};
use tokio::runtime;

use crate::sys::netns::{Namespace, on_own_thread};

/// The index of `lo` in every namespace.
pub const LOOPBACK: u32 = 1;

/// What we need to know about a link.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its alternative names.
    pub alternative_names: Vec<String>,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Its link-layer address; empty if it has none.
    pub address: Vec<u8>,
    /// For a veth, the id of its peer's namespace.
    pub peer_namespace: Option<u32>,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether its packets have an Ethernet header.
    pub has_ethernet: bool,
    /// Its alias.
    pub alias: String,
    /// Whether it is virtual, such as a veth, a bridge or a VLAN.
    pub is_virtual: bool,
    /// The interface that it is a sub-interface of.
    pub lower: Option<u32>,
    /// The ids of the XDP programs on it.
    pub xdp: Vec<u32>,
}

/// Runs requests in the process's own namespace, on a thread and a connection of their own.
pub fn run<T: Send>(requests: impl AsyncFnOnce(Handle) -> Result<T> + Send) -> Result<T> {
    on_own_thread(|| Ok(block_on(requests))).context("no thread for netlink")?
}

/// Runs requests in another namespace, on a thread and a connection of their own.
pub fn run_in<T: Send>(
    namespace: &Namespace,
    requests: impl AsyncFnOnce(Handle) -> Result<T> + Send,
) -> Result<T> {
    namespace.run(|| Ok(block_on(requests))).context("cannot enter the private namespace")?
}

fn block_on<T>(requests: impl AsyncFnOnce(Handle) -> Result<T>) -> Result<T> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = new_connection().context("no netlink socket")?;
        let driver = tokio::spawn(connection);
        let result = requests(handle).await;
        // A broken connection looks like the end of the replies.
        if driver.is_finished() {
            bail!("the talk with the kernel (netlink) has broken off");
        }
        result
    })
}

/// The kernel's own error for what it refuses.
fn refusal(error: rtnetlink::Error) -> anyhow::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => anyhow!(message.to_io()),
        other => anyhow!(other),
    }
}

/// Whether the kernel refuses with one of these codes.
fn is_refusal(error: &rtnetlink::Error, codes: &[Errno]) -> bool {
    let rtnetlink::Error::NetlinkError(message) = error else { return false };
    let code = message.to_io().raw_os_error();
    code.is_some_and(|code| codes.contains(&Errno::from_raw(code)))
}

/// A link by its name; `None` if there is none.
pub async fn link(handle: &Handle, name: &str) -> Result<Option<Link>> {
    let found = handle.link().get().match_name(name).execute().try_next().await;
    one(found).with_context(|| format!("cannot look up interface {name}"))
}

/// A link by its index; `None` if there is none.
pub async fn link_at(handle: &Handle, index: u32) -> Result<Option<Link>> {
    let found = handle.link().get().match_index(index).execute().try_next().await;
    one(found).with_context(|| format!("cannot look up interface {index}"))
}

fn one(found: Result<Option<LinkMessage>, rtnetlink::Error>) -> Result<Option<Link>> {
    match found {
        Ok(message) => Ok(message.map(read_link)),
        Err(error) if is_refusal(&error, &[Errno::ENODEV]) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Every link of the namespace.
pub async fn links(handle: &Handle) -> Result<Vec<Link>> {
    Ok(link_messages(handle).await?.into_iter().map(read_link).collect())
}

/// Every link of the namespace, with all its attributes.
pub async fn link_messages(handle: &Handle) -> Result<Vec<LinkMessage>> {
    Ok(handle.link().get().execute().try_collect().await?)
}

/// Picks what we need to know about a link.
pub fn read_link(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        alternative_names: Vec::new(),
        mtu: 0,
        address: Vec::new(),
        peer_namespace: None,
        is_up: message.header.flags.contains(LinkFlags::Up),
        has_ethernet: matches!(
            message.header.link_layer_type,
            LinkLayerType::Ether | LinkLayerType::Loopback
        ),
        alias: String::new(),
        is_virtual: false,
        lower: None,
        xdp: Vec::new(),
    };
    let (mut is_vlan, mut lower) = (false, None);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(address) => link.address = address,
            LinkAttribute::IfAlias(alias) => link.alias = alias,
            LinkAttribute::LinkInfo(infos) => {
                link.is_virtual = infos.iter().any(|info| matches!(info, LinkInfo::Kind(_)));
                is_vlan = infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Vlan)));
            }
            LinkAttribute::Link(index) => lower = Some(index),
            LinkAttribute::LinkNetNsId(id) => link.peer_namespace = u32::try_from(id).ok(),
            LinkAttribute::PropList(properties) => {
                link.alternative_names = properties.into_iter().filter_map(alternative).collect();
            }
            LinkAttribute::Xdp(attributes) => {
                link.xdp = attributes.iter().filter_map(xdp_program).collect();
            }
            _ => {}
        }
    }
    link.lower = lower.filter(|_| is_vlan);
    link
}

fn alternative(property: Prop) -> Option<String> {
    match property {
        Prop::AltIfName(name) => Some(name),
        _ => None,
    }
}

/// The kernel reports a single program twice.
fn xdp_program(attribute: &LinkXdp) -> Option<u32> {
    match attribute {
        LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    }
}

/// Makes a veth pair with its inner end in `namespace`. The outer end gets the index `index`; `false` if
/// another link has it.
pub async fn add_veth(
    handle: &Handle,
    (name, index): (&str, u32),
    inner: &str,
    mtu: u32,
    namespace: &Namespace,
) -> Result<bool> {
    let peer = LinkUnspec::new_with_name(inner)
        .mtu(mtu)
        .setns_by_fd(namespace.as_fd().as_raw_fd())
        .build();
    let mut pair = LinkMessageBuilder::<LinkVeth>::new(name, inner)
        .mtu(mtu)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    pair.header.index = index;
    // `EBUSY` by the kernel's `dev_index_reserve`, `EEXIST` by a check before it: a link of that index is
    // there, which the request is taken for.
    match handle.link().add(pair).execute().await {
        Ok(()) => Ok(true),
        Err(error) if is_refusal(&error, &[Errno::EBUSY, Errno::EEXIST]) => Ok(false),
        Err(error) => Err(refusal(error).context(format!("cannot make veth {name}"))),
    }
}

/// Deletes a link, and a veth's peer with it.
pub async fn delete(handle: &Handle, index: u32) -> Result<()> {
    handle.link().del(index).execute().await.map_err(refusal)
}

/// Sets a link's alias, which the kernel ignores in the request that makes the link.
pub async fn set_alias(handle: &Handle, index: u32, alias: &str) -> Result<()> {
    let named = LinkUnspec::new_with_index(index).alias(alias).build();
    handle.link().set(named).execute().await.map_err(refusal).context("cannot set a link's alias")
}

/// Brings a link up.
pub async fn set_up(handle: &Handle, index: u32) -> Result<()> {
    let up = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(up).execute().await.map_err(refusal).context("cannot bring a link up")
}

/// Sets a link's MTU, in bytes.
pub async fn set_mtu(handle: &Handle, index: u32, mtu: u32) -> Result<()> {
    let changed = LinkUnspec::new_with_index(index).mtu(mtu).build();
    handle.link().set(changed).execute().await.map_err(refusal).context("cannot set a link's MTU")
}
