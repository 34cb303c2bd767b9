//! How many connections there may be.

use std::num::{NonZeroU32, NonZeroU64};

use super::scope::Scope;
use crate::address::Ipv6Prefix;
use crate::config::field::field;
use crate::config::invalid::Invalid;
use crate::config::raw::RawLimits;
use crate::config::settings::{ConnectionLimits, MemoryLimit};
use crate::config::value::RawValue;

pub(super) fn limits(scope: Scope<'_>, raw: &RawLimits) -> Result<ConnectionLimits, Invalid> {
    Ok(ConnectionLimits {
        connections: connections(scope, &raw.connections)?,
        per_source: per_source(scope, &raw.per_source)?,
        memory: memory(scope, &raw.memory)?,
        ipv6_prefix: ipv6_prefix(scope, &raw.ipv6_prefix)?,
    })
}

fn connections(scope: Scope<'_>, value: &RawValue) -> Result<Option<NonZeroU32>, Invalid> {
    match value.parse() {
        _ if &**value == "auto" => Ok(None),
        Ok(limit) => Ok(Some(limit)),
        Err(_) => {
            let fix = format!("write a number from 1 to {}, or auto", u32::MAX);
            Err(scope.refuse(field!(limits.connections), value, fix))
        }
    }
}

fn per_source(scope: Scope<'_>, value: &RawValue) -> Result<Option<NonZeroU32>, Invalid> {
    let limit = value.parse().map_err(|_| {
        let fix = format!("write a number up to {}, or 0 for any number", u32::MAX);
        scope.refuse(field!(limits.per_source), value, fix)
    })?;
    Ok(NonZeroU32::new(limit))
}

fn ipv6_prefix(scope: Scope<'_>, value: &RawValue) -> Result<Ipv6Prefix, Invalid> {
    value.parse().ok().and_then(Ipv6Prefix::new).ok_or_else(|| {
        let fix = "write how many bits of an IPv6 address make one client, from 1 to 128";
        scope.refuse(field!(limits.ipv6_prefix), value, fix)
    })
}

/// Less than that can be what one connection is counted for.
const LEAST_MEMORY: u64 = 16 << 20;
/// What a size can be counted in.
const UNITS: [(&str, u64); 4] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

fn memory(scope: Scope<'_>, value: &RawValue) -> Result<MemoryLimit, Invalid> {
    match &**value {
        "auto" => Ok(MemoryLimit::Quarter),
        "none" => Ok(MemoryLimit::Any),
        text => {
            let size = size(text).filter(|size| size.get() >= LEAST_MEMORY);
            size.map(MemoryLimit::Bytes).ok_or_else(|| {
                let fix = "write a size such as 512MiB or 2GiB, of 16MiB or more, auto, or none";
                scope.refuse(field!(limits.memory), value, fix)
            })
        }
    }
}

/// A number with its unit.
fn size(text: &str) -> Option<NonZeroU64> {
    let mut units = UNITS.into_iter();
    let (number, unit) = units.find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    NonZeroU64::new(number.trim_end().parse::<u64>().ok()?.checked_mul(unit)?)
}
