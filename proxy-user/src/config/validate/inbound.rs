//! What is expected of whoever connects: modes, trust, limits.

use std::time::Duration;

use super::{Invalid, duration, refuse};
use crate::address::Cidr;
use crate::config::raw::RawAttach;
use crate::config::settings::{Inbound, Mode, ServerFirst, Untrusted};
use crate::header::{Limits, Version, Versions};

/// Less than this is less than pp05 allows.
const LEAST_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn inbound(raw: &RawAttach) -> Result<Inbound, Invalid> {
    let mode = match raw.inbound.as_str() {
        "require" => Mode::Require,
        "optional" => Mode::Optional,
        "off" => Mode::Off,
        other => return Err(refuse("--inbound", other, "write require, optional or off")),
    };
    let untrusted = match raw.untrusted.as_str() {
        "refuse" => Untrusted::Refuse,
        "direct" => Untrusted::Direct,
        other => return Err(refuse("--untrusted", other, "write refuse or direct")),
    };
    let trusted = ranges("--trust", &raw.trust)?;
    if trusted.is_empty() && mode != Mode::Off {
        return Err(Invalid::TrustsNobody { mode });
    }
    let timeout = header_timeout(&raw.header_timeout)?;
    Ok(Inbound {
        mode,
        trusted,
        hairpin: ranges("--hairpin", &raw.hairpin)?,
        untrusted,
        limits: Limits { max_header: max_header(&raw.max_header)?, versions: versions(raw)? },
        timeout,
        server_first: server_first(&raw.server_first, mode, timeout)?,
        reject_second: raw.reject_second,
    })
}

fn ranges(field: &'static str, words: &[String]) -> Result<Vec<Cidr>, Invalid> {
    let range = |word: &String| word.parse().map_err(|error| Invalid::Range { field, error });
    words.iter().map(range).collect()
}

fn header_timeout(text: &str) -> Result<Duration, Invalid> {
    let timeout = duration("--header-timeout", text)?;
    if timeout < LEAST_TIMEOUT {
        let fix = "write 3s or more: a header can be lost and sent again";
        return Err(refuse("--header-timeout", text, fix));
    }
    Ok(timeout)
}

pub(crate) fn max_header(text: &str) -> Result<usize, Invalid> {
    let range = Limits::LOWEST_MAX..=Limits::HIGHEST_MAX;
    match text.parse() {
        Ok(bytes) if range.contains(&bytes) => Ok(bytes),
        _ => {
            let fix = format!("write a number of bytes from {} to {}", range.start(), range.end());
            Err(refuse("--max-header", text, fix))
        }
    }
}

fn versions(raw: &RawAttach) -> Result<Versions, Invalid> {
    if raw.versions.is_empty() {
        return Ok(Versions::ALL);
    }
    let version = |text: &String| {
        text.parse::<Version>().map_err(|_| refuse("--versions", text, "write v1, v2 or v1,v2"))
    };
    raw.versions.iter().map(version).collect()
}

fn server_first(text: &str, mode: Mode, timeout: Duration) -> Result<ServerFirst, Invalid> {
    if text == "wait" {
        return Ok(ServerFirst::Wait);
    }
    if mode == Mode::Require {
        let fix = "leave it out: with --inbound require no server speaks before the header";
        return Err(refuse("--server-first", text, fix));
    }
    let after = duration("--server-first", text)?;
    if after >= timeout {
        return Err(refuse("--server-first", text, "write wait, or less than --header-timeout"));
    }
    Ok(ServerFirst::After(after))
}
