//! Short conversations with the kernel about links, addresses, routes, rules and neighbours.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context as _, Result, anyhow, bail};
use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use netlink_packet_route::neighbour::NeighbourState;
use netlink_packet_route::route::{RouteAttribute, RouteScope, RouteType};
use netlink_packet_route::rule::RuleAction;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use rtnetlink::{
    Handle, IpVersion, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    new_connection,
};
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
}

/// Talks to the kernel in the process's own namespace.
pub fn here<T: Send>(talk: impl AsyncFnOnce(Handle) -> Result<T> + Send) -> Result<T> {
    on_own_thread(|| Ok(converse(talk))).context("no thread for netlink")?
}

/// Talks to the kernel in another namespace.
pub fn inside<T: Send>(
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

/// A link by its name; `None` if there is none of that name.
pub async fn link(handle: &Handle, name: &str) -> Result<Option<Link>> {
    let found = handle.link().get().match_name(name).execute().try_next().await;
    match found {
        Ok(message) => Ok(message.map(read_link)),
        Err(rtnetlink::Error::NetlinkError(error)) if is_no_device(&error.to_io()) => Ok(None),
        Err(error) => Err(anyhow!(error).context(format!("cannot look up interface {name}"))),
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

fn is_no_device(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32)
}

/// What we care for in a link.
pub fn read_link(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
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
            _ => {}
        }
    }
    link.lower = lower.filter(|_| is_vlan);
    link
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
    match handle.link().add(pair).execute().await {
        Ok(()) => Ok(true),
        Err(rtnetlink::Error::NetlinkError(error)) if is_index_taken(&error.to_io()) => Ok(false),
        Err(error) => Err(refusal(error).context(format!("cannot make veth {name}"))),
    }
}

/// `EBUSY` by the kernel's `dev_index_reserve`, `EEXIST` by a check before it: a link of that index
/// is there, which the request is taken for.
fn is_index_taken(error: &io::Error) -> bool {
    let taken = [nix::errno::Errno::EBUSY, nix::errno::Errno::EEXIST];
    taken.iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
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

/// Sends everything for which there is no other route to the neighbour `gateway` at `address`,
/// which is told, never asked for.
pub async fn route_all_via(
    handle: &Handle,
    index: u32,
    gateway: IpAddr,
    address: &[u8],
) -> Result<()> {
    handle
        .neighbours()
        .add(index, gateway)
        .link_layer_address(address)
        .state(NeighbourState::Permanent)
        .replace()
        .execute()
        .await
        .map_err(refusal)
        .context("cannot set a neighbour")?;
    let route = match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(gateway)
            .output_interface(index)
            .onlink()
            .build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
            .gateway(gateway)
            .output_interface(index)
            .onlink()
            .build(),
    };
    handle.route().add(route).execute().await.map_err(refusal).context("cannot set a default route")
}

/// The kernel's table of local addresses.
const LOCAL: u8 = 255;

/// Delivers to local sockets whatever comes in by the link `inner`, whoever it is addressed to.
///
/// The kernel answers without a socket, which is how it refuses a connection, only from an address that
/// its own table has for a local one. So that table is the one that has all addresses, and is asked of
/// what comes in only: what leaves would never leave.
pub async fn deliver_all_v4(handle: &Handle, inner: &str) -> Result<()> {
    let mut rules = handle.rule().get(IpVersion::V4).execute();
    let mut general = Vec::new();
    while let Some(rule) = rules.try_next().await.context("cannot read the IPv4 rules")? {
        general.extend((rule.header.table == LOCAL).then_some(rule));
    }
    let rule = handle.rule().add().v4().input_interface(inner);
    let rule = rule.action(RuleAction::ToTable).table_id(LOCAL.into());
    rule.execute().await.map_err(refusal).context("cannot add the IPv4 rule")?;
    for rule in general {
        let removed = handle.rule().del(rule).execute().await;
        removed.map_err(refusal).context("cannot remove the IPv4 rule for local addresses")?;
    }
    let everything = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
        .output_interface(LOOPBACK)
        .table_id(LOCAL.into())
        .kind(RouteType::Local)
        .scope(RouteScope::Host)
        .build();
    handle
        .route()
        .add(everything)
        .execute()
        .await
        .map_err(refusal)
        .context("cannot add the IPv4 local route")
}

/// The same for IPv6, where it answers from any address.
pub async fn deliver_all_v6(handle: &Handle, inner: &str, table: u32) -> Result<()> {
    let rule =
        handle.rule().add().v6().input_interface(inner).action(RuleAction::ToTable).table_id(table);
    rule.execute().await.map_err(refusal).context("cannot add the IPv6 rule")?;
    let everything = RouteMessageBuilder::<Ipv6Addr>::new()
        .destination_prefix(Ipv6Addr::UNSPECIFIED, 0)
        .output_interface(LOOPBACK)
        .table_id(table)
        .kind(RouteType::Local)
        .build();
    handle
        .route()
        .add(everything)
        .execute()
        .await
        .map_err(refusal)
        .context("cannot add the IPv6 local route")
}

/// The interface by which an address is reached, `lo` for one of our own; `None` without a route.
pub async fn way_to(handle: &Handle, address: IpAddr) -> Result<Option<u32>> {
    let query = match address {
        IpAddr::V4(v4) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(v4, 32).build(),
        IpAddr::V6(v6) => {
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(v6, 128).build()
        }
    };
    let mut answers = handle.route().get(query).execute();
    // Without a route, the kernel's answer is an error.
    let Ok(Some(route)) = answers.try_next().await else { return Ok(None) };
    Ok(route.attributes.into_iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(index),
        _ => None,
    }))
}

/// The links that a default route of either family leads to.
pub async fn default_routes(handle: &Handle) -> Result<Vec<u32>> {
    let queries = [
        RouteMessageBuilder::<Ipv4Addr>::new().build(),
        RouteMessageBuilder::<Ipv6Addr>::new().build(),
    ];
    let mut links = Vec::new();
    for query in queries {
        let mut routes = handle.route().get(query).execute();
        while let Some(route) = routes.try_next().await.context("cannot read the routes")? {
            if route.header.destination_prefix_length == 0 {
                links.extend(route.attributes.iter().flat_map(links_of));
            }
        }
    }
    Ok(links)
}

/// The links that a route's attribute names: its only one, or those of its several next hops.
fn links_of(attribute: &RouteAttribute) -> Vec<u32> {
    match attribute {
        RouteAttribute::Oif(index) => vec![*index],
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        _ => Vec::new(),
    }
}

/// The links of the process's own namespace that have a filter of anybody's on their clsact.
pub fn links_with_filters() -> Result<Vec<Link>> {
    here(async |handle| {
        let mut filtered = Vec::new();
        for link in links(&handle).await? {
            if has_filter(&handle, &link).await? {
                filtered.push(link);
            }
        }
        Ok(filtered)
    })
}

async fn has_filter(handle: &Handle, link: &Link) -> Result<bool> {
    // The kernel's TC messages want it signed.
    let index = i32::try_from(link.index).context("an interface index above 2^31")?;
    let mut ingress = handle.traffic_filter(index).get().ingress().execute();
    if ingress.try_next().await?.is_some() {
        return Ok(true);
    }
    let mut egress = handle.traffic_filter(index).get().egress().execute();
    Ok(egress.try_next().await?.is_some())
}

/// The filters on a link's clsact: on its ingress and on its egress.
pub async fn filters(handle: &Handle, index: u32) -> Result<[Vec<TcMessage>; 2]> {
    let index = i32::try_from(index).context("an interface index above 2^31")?;
    let ingress = handle.traffic_filter(index).get().ingress().execute().try_collect();
    let ingress = ingress.await?;
    let egress = handle.traffic_filter(index).get().egress().execute().try_collect();
    Ok([ingress, egress.await?])
}

/// Removes an interface's clsact qdisc, unless a filter of anybody's is on it.
pub async fn remove_unused_clsact(handle: &Handle, interface: &str) -> Result<()> {
    let Some(link) = link(handle, interface).await? else { return Ok(()) };
    if has_filter(handle, &link).await? {
        return Ok(());
    }
    let mut request = handle.qdisc().del(i32::try_from(link.index)?);
    let message = request.message_mut();
    message.header.parent = TcHandle::CLSACT;
    message.attributes.push(TcAttribute::Kind("clsact".to_owned()));
    match request.execute().await {
        // There is none.
        Err(rtnetlink::Error::NetlinkError(error)) if is_no_qdisc(&error.to_io()) => Ok(()),
        result => result.map_err(refusal),
    }
}

fn is_no_qdisc(error: &io::Error) -> bool {
    let absent = [nix::errno::Errno::EINVAL, nix::errno::Errno::ENOENT];
    absent.iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Sets a link's MTU, in bytes.
pub async fn set_mtu(handle: &Handle, index: u32, mtu: u32) -> Result<()> {
    let changed = LinkUnspec::new_with_index(index).mtu(mtu).build();
    handle.link().set(changed).execute().await.map_err(refusal).context("cannot set a link's MTU")
}
