//! Routes, rules, neighbours and addresses: what leads where, and how it is set.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use futures_util::TryStreamExt as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use nix::errno::Errno;
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};

use super::{LOOPBACK, is_refusal, refusal};

/// Which of the two Internet protocols something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    fn version(self) -> IpVersion {
        match self {
            Self::V4 => IpVersion::V4,
            Self::V6 => IpVersion::V6,
        }
    }

    fn number(self) -> AddressFamily {
        match self {
            Self::V4 => AddressFamily::Inet,
            Self::V6 => AddressFamily::Inet6,
        }
    }
}

/// What somebody else has made meanwhile is there as well.
fn made(result: Result<(), rtnetlink::Error>, what: &'static str) -> Result<()> {
    match result {
        Err(error) if is_refusal(&error, &[Errno::EEXIST]) => Ok(()),
        result => result.map_err(refusal).context(what),
    }
}

/// Gives a link an address without a network around it.
pub async fn add_address(handle: &Handle, index: u32, address: Ipv4Addr) -> Result<()> {
    let added = handle.address().add(index, address.into(), 32).execute().await;
    made(added, "cannot give the inner end its address")
}

/// Tells where the neighbour `gateway` is, so that it is never asked for.
pub async fn set_neighbour(
    handle: &Handle,
    index: u32,
    gateway: IpAddr,
    address: &[u8],
) -> Result<()> {
    let neighbour = handle.neighbours().add(index, gateway).link_layer_address(address);
    let set = neighbour.state(NeighbourState::Permanent).replace().execute().await;
    set.map_err(refusal).context("cannot set a neighbour")
}

/// Sends everything for which there is no other route to the neighbour `gateway`.
pub async fn add_default_route(handle: &Handle, index: u32, gateway: IpAddr) -> Result<()> {
    // The kernel takes no gateway that it has for a local address, as it then has all of IPv4: those are
    // local again in a moment.
    let is_local =
        gateway.is_ipv4() && handle.route().del(everything(Family::V4)).execute().await.is_ok();
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
    let added = made(handle.route().add(route).execute().await, "cannot set a default route");
    if is_local {
        add_local_route(handle, Family::V4).await?;
    }
    added
}

/// The kernel's table of local addresses.
const LOCAL: u8 = 255;
/// Before the kernel's rules for the main table.
const FIRST: u32 = 1;
/// The table that delivers everything in IPv6; any number, since the namespace is ours.
const EVERYTHING: u8 = 100;

impl Family {
    /// The table that delivers everything.
    ///
    /// In IPv4 the kernel answers without a socket, which is how it refuses a connection, only from an
    /// address that its own table has for a local one. So that table is the one that has all addresses,
    /// and is asked of what comes in only: what leaves would never leave.
    fn table(self) -> u8 {
        match self {
            Self::V4 => LOCAL,
            Self::V6 => EVERYTHING,
        }
    }
}

/// Whether a rule has everybody ask the table that delivers everything, and not only who comes in.
fn is_general(message: &RuleMessage) -> bool {
    let is_inner = |attribute: &RuleAttribute| matches!(attribute, RuleAttribute::Iifname(_));
    message.header.table == LOCAL && !message.attributes.iter().any(is_inner)
}

/// Has a table decide about whatever comes in by the link `inner`, and in IPv4 about nothing else.
pub async fn add_rule(handle: &Handle, family: Family, inner: &str) -> Result<()> {
    let rule = handle.rule().add().input_interface(inner).action(RuleAction::ToTable);
    // Whatever rules there are: the kernel's own choice is behind the main table where that is the first.
    let rule = rule.table_id(family.table().into()).priority(FIRST);
    if family == Family::V6 {
        return made(rule.v6().execute().await, "cannot add the IPv6 rule");
    }
    made(rule.v4().execute().await, "cannot add the IPv4 rule")?;
    let rules = handle.rule().get(IpVersion::V4).execute().try_collect::<Vec<_>>().await;
    for rule in rules.context("cannot read the IPv4 rules")?.into_iter().filter(is_general) {
        let removed = handle.rule().del(rule).execute().await;
        removed.map_err(refusal).context("cannot remove the IPv4 rule for local addresses")?;
    }
    Ok(())
}

/// Delivers to local sockets whatever that table is asked about, whoever it is addressed to.
pub async fn add_local_route(handle: &Handle, family: Family) -> Result<()> {
    made(handle.route().add(everything(family)).execute().await, "cannot add the local route")
}

/// The route by which everything is local.
fn everything(family: Family) -> RouteMessage {
    let table = family.table().into();
    match family {
        Family::V4 => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
            .output_interface(LOOPBACK)
            .table_id(table)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .build(),
        Family::V6 => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(Ipv6Addr::UNSPECIFIED, 0)
            .output_interface(LOOPBACK)
            .table_id(table)
            .kind(RouteType::Local)
            .build(),
    }
}

/// Everything that leads somewhere in a namespace.
#[derive(Debug)]
pub struct Tables {
    addresses: Vec<AddressMessage>,
    neighbours: Vec<NeighbourMessage>,
    routes: Vec<RouteMessage>,
    rules: Vec<RuleMessage>,
}

impl Tables {
    /// Reads what there is of these families.
    pub async fn read(handle: &Handle, families: &[Family]) -> Result<Self> {
        let addresses = handle.address().get().execute().try_collect().await;
        let neighbours = handle.neighbours().get().execute().try_collect().await;
        let (mut routes, mut rules) = (Vec::new(), Vec::new());
        for family in families {
            let query = match family {
                Family::V4 => RouteMessageBuilder::<Ipv4Addr>::new().build(),
                Family::V6 => RouteMessageBuilder::<Ipv6Addr>::new().build(),
            };
            let found: Vec<_> = handle.route().get(query).execute().try_collect().await?;
            routes.extend(found);
            let found: Vec<_> = handle.rule().get(family.version()).execute().try_collect().await?;
            rules.extend(found);
        }
        Ok(Self { addresses: addresses?, neighbours: neighbours?, routes, rules })
    }

    /// Whether a link has an address.
    pub fn has_address(&self, index: u32, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|message| {
            message.header.index == index
                && message.attributes.contains(&AddressAttribute::Local(address.into()))
        })
    }

    /// As [`set_neighbour`] sets it.
    pub fn has_neighbour(&self, index: u32, gateway: IpAddr, address: &[u8]) -> bool {
        let gateway = match gateway {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        };
        self.neighbours.iter().any(|message| {
            let has = |attribute| message.attributes.contains(&attribute);
            message.header.ifindex == index
                && message.header.state == NeighbourState::Permanent
                && has(NeighbourAttribute::Destination(gateway.clone()))
                && has(NeighbourAttribute::LinkLayerAddress(address.to_vec()))
        })
    }

    /// As [`add_default_route`] sets it.
    pub fn has_default_route(&self, index: u32, gateway: IpAddr) -> bool {
        self.routes.iter().any(|message| {
            message.header.destination_prefix_length == 0
                && message.header.table == RouteHeader::RT_TABLE_MAIN
                && message.attributes.contains(&RouteAttribute::Oif(index))
                && message
                    .attributes
                    .contains(&RouteAttribute::Gateway(RouteAddress::from(gateway)))
        })
    }

    /// As [`add_rule`] sets it.
    pub fn has_rule(&self, family: Family, inner: &str) -> bool {
        let mut of_family =
            self.rules.iter().filter(|message| message.header.family == family.number());
        if family == Family::V4 && of_family.clone().any(is_general) {
            return false;
        }
        of_family.any(|message| {
            message.attributes.contains(&RuleAttribute::Iifname(inner.to_owned()))
                && message.attributes.contains(&RuleAttribute::Table(family.table().into()))
        })
    }

    /// As [`deliver_all`] sets it.
    pub fn has_local_route(&self, family: Family) -> bool {
        self.routes.iter().any(|message| {
            message.header.address_family == family.number()
                && message.header.kind == RouteType::Local
                && message.header.destination_prefix_length == 0
                && message.attributes.contains(&RouteAttribute::Table(family.table().into()))
        })
    }
}

/// The interface by which an address is reached, `lo` for one of our own; `None` without a route.
pub async fn output_interface(handle: &Handle, address: IpAddr) -> Result<Option<u32>> {
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
