//! Ports and ranges of ports.

use std::ops::RangeInclusive;

use super::Invalid;
use crate::config::field::{At, PORTS};
use crate::config::settings::Ports;
use crate::config::word::Word;

/// The set that the words name, sorted and merged.
pub(super) fn ports(at: At<'_>, words: &[Word]) -> Result<Ports, Invalid> {
    let mut ranges =
        words.iter().map(|word| port_range(at, word)).collect::<Result<Vec<_>, _>>()?;
    if ranges.is_empty() {
        let example = match at {
            At::Flags => "--port 80,443 or --port 8000-8010",
            At::File | At::Rule(_) => "[80, 443] or [8000-8010]",
        };
        return Err(at.missing(PORTS, format!("name the ports to protect, such as {example}")));
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

fn port_range(at: At<'_>, word: &Word) -> Result<RangeInclusive<u16>, Invalid> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => {
            let fix = "write a port from 1 to 65535, or a range such as 8000-8010";
            Err(at.refuse(PORTS, word, fix))
        }
    };
    let Some((first, last)) = word.split_once('-') else {
        return port(word).map(|port| port..=port);
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        let fix = format!("write the smaller port first: {last}-{first}");
        return Err(at.refuse(PORTS, word, fix));
    }
    Ok(first..=last)
}
