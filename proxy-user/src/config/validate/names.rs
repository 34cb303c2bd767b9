//! The addresses that were found for upstreams' names, validated for the rules that use them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::slice;

use super::rules;
use super::upstream::require_suitable_sources;
use crate::address::UpstreamAddr;
use crate::config::field::{Syntax, field};
use crate::config::invalid::Invalid;
use crate::config::raw::RawConfig;
use crate::config::settings::{Settings, UpstreamAddress, UpstreamName};

/// What came of looking names up: addresses, or why there are none.
pub type Found = BTreeMap<UpstreamName, Result<Vec<SocketAddr>, String>>;

/// The addresses of upstreams' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<UpstreamName, Vec<UpstreamAddr>>);

impl Names {
    /// Validates what was found for each name in the settings, which were made from `raw`.
    pub fn judge(
        raw: &RawConfig,
        syntax: Syntax,
        settings: &Settings,
        found: &Found,
    ) -> Result<Self, Invalid> {
        let mut names = Self::default();
        for (raw, rule) in raw.rules.iter().zip(&settings.rules) {
            let Some(name) = rule.upstream_name() else { continue };
            let scope = rules::scope(raw, syntax);
            let refuse = |fix: String| {
                scope.refuse(field!(rule.upstream.address), &raw.upstream.address, fix)
            };
            let found = match found.get(name) {
                Some(Ok(found)) => found,
                Some(Err(why)) => {
                    return Err(refuse(format!("its address can't be found ({why})")));
                }
                None => return Err(refuse("its address was not looked up".to_owned())),
            };
            let addresses = rule.upstream.judge(found);
            let addresses = addresses.map_err(|unfit| refuse(unfit.to_string()))?;
            require_suitable_sources(scope, &raw.upstream, &rule.upstream, &addresses)?;
            names.set(name.clone(), addresses);
        }
        Ok(names)
    }

    /// From now on a name has these addresses.
    pub fn set(&mut self, name: UpstreamName, addresses: Vec<UpstreamAddr>) {
        self.0.insert(name, addresses);
    }

    /// Each name with its addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&UpstreamName, &[UpstreamAddr])> {
        self.0.iter().map(|(name, addresses)| (name, addresses.as_slice()))
    }

    /// The addresses of an upstream, as far as they are the same for all connections.
    pub fn addresses<'a>(&'a self, of: &'a UpstreamAddress) -> &'a [UpstreamAddr] {
        match of {
            UpstreamAddress::Original => &[],
            UpstreamAddress::Fixed(address) => slice::from_ref(address),
            UpstreamAddress::Named(name) => self.0.get(name).map_or(&[], Vec::as_slice),
        }
    }
}
