//! Short conversations with the kernel about links, and what is on and behind them.

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

/// One link, as far as we care.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Other names that it can be found by.
    pub alternative_names: Vec<String>,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Its link-layer address; empty if it has none.
    pub address: Vec<u8>,
    /// The id of the namespace that its other end is in, for a veth.
    pub peer_namespace: Option<u32>,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether its packets have an Ethernet header.
    pub has_ethernet: bool,
    /// The text that somebody gave it.
    pub alias: String,
    /// Whether the kernel has made it up: a veth, a bridge, a VLAN; not a piece of hardware.
    pub is_virtual: bool,
    /// The interface that it is a sub-interface of.
    pub lower: Option<u32>,
    /// The ids of the XDP programs on it.
    pub xdp: Vec<u32>,
}

/// Talks to the kernel in the process's own namespace.
pub fn run<T: Send>(talk: impl AsyncFnOnce(Handle) -> Result<T> + Send) -> Result<T> {
    on_own_thread(|| Ok(converse(talk))).context("no thread for netlink")?
}

/// Talks to the kernel in another namespace.
pub fn run_in<T: Send>(
    namespace: &Namespace,
    talk: impl AsyncFnOnce(Handle) -> Result<T> + Send,
) -> Result<T> {
    namespace.run(|| Ok(converse(talk))).context("cannot enter the private namespace")?
}

fn converse<T>(talk: impl AsyncFnOnce(Handle) -> Result<T>) -> Result<T> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = new_connection().context("no netlink socket")?;
        let talking = tokio::spawn(connection);
        let result = talk(handle).await;
        // A connection that has broken looks like one that has nothing more to say.
        if talking.is_finished() {
            bail!("the talk with the kernel (netlink) has broken off");
        }
        result
    })
}

/// The kernel's own word for what it refuses.
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

/// A link by its name; `None` if there is none of that name.
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

/// The same, with everything that the kernel says of them.
pub async fn link_messages(handle: &Handle) -> Result<Vec<LinkMessage>> {
    Ok(handle.link().get().execute().try_collect().await?)
}

/// What we care for in a link.
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

/// Of a single program, the kernel says the same thing twice.
fn xdp_program(attribute: &LinkXdp) -> Option<u32> {
    match attribute {
        LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    }
}

/// Makes a veth pair with its inner end in `namespace`, and the index `index`; `false` if another
/// link has that.
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

/// Deletes a link, and a veth's other end with it.
pub async fn delete(handle: &Handle, index: u32) -> Result<()> {
    handle.link().del(index).execute().await.map_err(refusal)
}

/// Gives a link a text of ours. The kernel ignores it in the request that makes the link.
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
