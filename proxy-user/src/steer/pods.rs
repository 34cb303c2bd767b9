//! The node's own pods: which interfaces they are behind, and which connections they have opened.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, bail};
use aya::maps::{HashMap, Map, MapData};
use proxy_common::abi::{FourTuple, INTERFACE_PODS, INTERFACE_PODS_BY_ROUTE, INTERFACE_TRUSTED};
use proxy_common::maps;

use super::interface::NetworkInterface;
use super::netlink;
use super::object::Object;
use crate::address::{OriginalDst, PeerAddr, mapped};
use crate::config::settings::Steering;

impl Object {
    /// Returns a function that tells whether a pod has opened a connection. It says no if that is not
    /// known any more.
    pub fn pods(&self) -> Result<impl Fn(PeerAddr, OriginalDst) -> bool + Send + Sync + use<>> {
        let Map::LruHashMap(map) = self.map(maps::POD_SYNS.name)? else {
            bail!("{} is of another kind", maps::POD_SYNS.name)
        };
        let fd = map.fd().as_fd().try_clone_to_owned().context("cannot share a map")?;
        let map = Map::LruHashMap(MapData::from_fd(fd).context("cannot share a map")?);
        let map = HashMap::<_, FourTuple, u32>::try_from(map)?;
        Ok(move |peer: PeerAddr, destination: OriginalDst| {
            map.get(&connection(peer, destination), 0).is_ok()
        })
    }
}

/// A connection as the programs look it up.
fn connection(peer: PeerAddr, destination: OriginalDst) -> FourTuple {
    FourTuple {
        remote: mapped(peer.get().ip()),
        local: mapped(destination.get().ip()),
        remote_port: peer.get().port().into(),
        local_port: destination.get().port().into(),
    }
}

/// The default routes, which tell what is behind an interface.
#[derive(Clone, Debug, Default)]
pub struct DefaultRoutes {
    /// The interfaces that they lead to.
    interfaces: Vec<u32>,
}

impl DefaultRoutes {
    /// Reads them from the routing table.
    pub fn read() -> Result<Self> {
        let interfaces =
            netlink::run(async |handle| netlink::routes::default_routes(&handle).await)?;
        Ok(Self { interfaces })
    }

    /// An interface's flags for the programs, except the guard's.
    pub fn interface_flags(&self, settings: &Steering, interface: &NetworkInterface) -> u32 {
        let mut flags = 0;
        if settings.trusted_interfaces.iter().any(|pattern| interface.is_called(pattern)) {
            flags |= INTERFACE_TRUSTED;
        }
        if settings.pod_interfaces.iter().any(|pattern| interface.is_called(pattern)) {
            flags |= INTERFACE_PODS;
        }
        if settings.pod_interfaces.is_empty() && !self.interfaces.contains(&interface.index()) {
            flags |= INTERFACE_PODS_BY_ROUTE;
        }
        flags
    }
}
