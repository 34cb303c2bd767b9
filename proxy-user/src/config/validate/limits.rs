//! How many connections there may be.

use std::num::{NonZeroU32, NonZeroU64};

use super::Invalid;
use crate::address::Ipv6Prefix;
use crate::config::field::{self, At};
use crate::config::raw::RawLimits;
use crate::config::settings::{ConnectionLimits, MemoryLimit};
use crate::config::word::Word;

pub(super) fn limits(at: At<'_>, raw: &RawLimits) -> Result<ConnectionLimits, Invalid> {
    let connections = match raw.connections.parse::<NonZeroU32>() {
        _ if &*raw.connections == "auto" => None,
        Ok(limit) => Some(limit),
        Err(_) => {
            let fix = format!("write a number from 1 to {}, or auto", u32::MAX);
            return Err(at.refuse(field::MAX_CONNECTIONS, &raw.connections, fix));
        }
    };
    let Ok(per_source) = raw.per_source.parse::<u32>() else {
        let fix = format!("write a number up to {}, or 0 for any number", u32::MAX);
        return Err(at.refuse(field::MAX_PER_SOURCE, &raw.per_source, fix));
    };
    let per_source = NonZeroU32::new(per_source);
    let Some(ipv6_prefix) = raw.ipv6_prefix.parse().ok().and_then(Ipv6Prefix::new) else {
        let fix = "write how many bits of an IPv6 address make one client, from 1 to 128";
        return Err(at.refuse(field::IPV6_PREFIX, &raw.ipv6_prefix, fix));
    };
    let memory = memory(at, &raw.memory)?;
    Ok(ConnectionLimits { connections, per_source, memory, ipv6_prefix })
}

/// Less than that can be what one connection is counted for.
const LEAST_MEMORY: u64 = 16 << 20;
/// What a size can be counted in.
const UNITS: [(&str, u64); 4] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

fn memory(at: At<'_>, word: &Word) -> Result<MemoryLimit, Invalid> {
    match &**word {
        "auto" => Ok(MemoryLimit::Quarter),
        "none" => Ok(MemoryLimit::Any),
        text => {
            let size = size(text).filter(|size| size.get() >= LEAST_MEMORY);
            size.map(MemoryLimit::Bytes).ok_or_else(|| {
                let fix = "write a size such as 512MiB or 2GiB, of 16MiB or more, auto, or none";
                at.refuse(field::MAX_MEMORY, word, fix)
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
