//! Ports and ranges of ports.

use std::ops::RangeInclusive;

use super::scope::Scope;
use crate::config::field::{Field, Syntax, field};
use crate::config::invalid::Invalid;
use crate::config::settings::Ports;
use crate::config::value::RawValue;

const PORTS: Field = field!(rule.ports);

/// The set of ports that are named, sorted and merged.
pub(super) fn ports(scope: Scope<'_>, values: &[RawValue]) -> Result<Ports, Invalid> {
    let mut ranges =
        values.iter().map(|value| port_range(scope, value)).collect::<Result<Vec<_>, _>>()?;
    if ranges.is_empty() {
        let example = match scope.syntax() {
            Syntax::Flags => "--port 80,443 or --port 8000-8010",
            Syntax::File => "[80, 443] or [8000-8010]",
        };
        return Err(scope.missing(PORTS, format!("name the ports to protect, such as {example}")));
    }
    ranges.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u16>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start() <= last.end() => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => merged.push(range),
        }
    }
    Ok(Ports::new(merged))
}

fn port_range(scope: Scope<'_>, value: &RawValue) -> Result<RangeInclusive<u16>, Invalid> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => {
            let fix = "write a port from 1 to 65535, or a range such as 8000-8010";
            Err(scope.refuse(PORTS, value, fix))
        }
    };
    let Some((first, last)) = value.split_once('-') else {
        return port(value).map(|port| port..=port);
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        let fix = format!("write the smaller port first: {last}-{first}");
        return Err(scope.refuse(PORTS, value, fix));
    }
    Ok(first..=last)
}
