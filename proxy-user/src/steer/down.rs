//! Upstreams that are down, as the programs know them: first packets to them are answered with a reset.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};
use proxy_common::abi::{self, DownKey};
use proxy_common::capacity::MAX_DOWN;
use proxy_common::maps;

use super::object::Object;
use super::typed_maps::TypedMaps as _;
use crate::address::{OriginalDst, mapped};
use crate::config::settings::UpstreamAddress;

/// What clients aim at and is down.
#[derive(Clone, Copy, Debug)]
pub enum Down<'a> {
    /// Any destination of a rule with this upstream.
    Upstream(&'a UpstreamAddress),
    /// This destination of a rule whose upstream is what clients aim at.
    Destination(OriginalDst),
}

/// What the map says.
#[derive(Debug, Default)]
pub struct DownMap(BTreeSet<DownKey>);

impl DownMap {
    /// Has the programs refuse what is aimed at these, and nothing else. Where there is no room, it is
    /// accepted.
    pub fn set<'a>(
        &mut self,
        object: &mut Object,
        down: impl IntoIterator<Item = Down<'a>>,
    ) -> Result<()> {
        let keys = down.into_iter().map(|down| match down {
            Down::Upstream(address) => {
                DownKey { upstream: object.number_of(address), port: 0, address: [0; 16] }
            }
            Down::Destination(destination) => of_destination(destination),
        });
        let wanted: BTreeSet<_> = keys.take(MAX_DOWN).collect();
        if wanted == self.0 {
            return Ok(());
        }
        let mut map = object.maps_mut().hash_mut(maps::DOWN_UPSTREAMS)?;
        for key in self.0.difference(&wanted).copied().collect::<Vec<_>>() {
            map.remove(&key).context("cannot remove an upstream that is up")?;
            self.0.remove(&key);
        }
        for key in wanted {
            if !self.0.contains(&key) {
                map.insert(key, abi::Down::default(), 0)
                    .context("cannot write an upstream that is down")?;
                self.0.insert(key);
            }
        }
        Ok(())
    }
}

/// How long ago a first packet to a destination that is down was last refused; `None`: none was.
pub fn last_refused(object: &Object, destination: OriginalDst) -> Result<Option<Duration>> {
    let map = object.maps().hash(maps::DOWN_UPSTREAMS)?;
    let Ok(abi::Down { last_refused_ns: at @ 1.. }) = map.get(&of_destination(destination), 0)
    else {
        return Ok(None);
    };
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    Ok(Some(now.saturating_sub(Duration::from_nanos(at))))
}

fn of_destination(destination: OriginalDst) -> DownKey {
    let destination = destination.get();
    DownKey { upstream: 0, port: destination.port().into(), address: mapped(destination.ip()) }
}
