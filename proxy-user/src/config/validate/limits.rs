//! How many connections there may be.

use std::num::NonZeroU32;

use super::Invalid;
use crate::config::field::{self, At};
use crate::config::raw::RawLimits;
use crate::config::settings::ConnectionLimits;

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
    Ok(ConnectionLimits { connections, per_source: NonZeroU32::new(per_source) })
}
