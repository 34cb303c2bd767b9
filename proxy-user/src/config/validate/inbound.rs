//! What is expected of whoever connects: modes, trust, limits.

use std::time::Duration;

use super::rules::ranges;
use super::{Invalid, duration};
use crate::config::field::{self, At};
use crate::config::raw::{RawInbound, RawRule};
use crate::config::settings::{Inbound, Mode, ServerFirst, Untrusted};
use crate::config::word::Word;
use crate::header::{Limits, Version, Versions};

/// Less than this is less than pp05 allows.
const LEAST_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn inbound(at: At<'_>, rule: &RawRule) -> Result<Inbound, Invalid> {
    let raw = &rule.inbound;
    let mode = match &*raw.mode {
        "require" => Mode::Require,
        "optional" => Mode::Optional,
        "off" => Mode::Off,
        _ => return Err(at.refuse(field::MODE, &raw.mode, "write require, optional or off")),
    };
    let untrusted = match &*raw.untrusted {
        "refuse" => Untrusted::Refuse,
        "direct" => Untrusted::Direct,
        _ => return Err(at.refuse(field::UNTRUSTED, &raw.untrusted, "write refuse or direct")),
    };
    let trusted = ranges(at, field::TRUSTED, &raw.trusted)?;
    if trusted.is_empty() && mode != Mode::Off {
        return Err(Invalid::trusts_nobody(at, mode, &raw.mode));
    }
    let timeout = header_timeout(at, &raw.timeout)?;
    let max_header = max_header(at, &raw.max_header)?;
    Ok(Inbound {
        mode,
        trusted,
        hairpin: ranges(at, field::HAIRPIN, &rule.hairpin.sources)?,
        untrusted,
        limits: Limits { max_header, versions: versions(at, raw)? },
        timeout,
        server_first: server_first(at, &raw.server_first, mode, timeout)?,
        reject_second: raw.reject_second,
    })
}

fn header_timeout(at: At<'_>, word: &Word) -> Result<Duration, Invalid> {
    let timeout = duration(at, field::HEADER_TIMEOUT, word)?;
    if timeout < LEAST_TIMEOUT {
        let fix = "write 3s or more: a header can be lost and sent again";
        return Err(at.refuse(field::HEADER_TIMEOUT, word, fix));
    }
    Ok(timeout)
}

pub(crate) fn max_header(at: At<'_>, word: &Word) -> Result<usize, Invalid> {
    let range = Limits::LOWEST_MAX..=Limits::HIGHEST_MAX;
    match word.parse() {
        Ok(bytes) if range.contains(&bytes) => Ok(bytes),
        _ => {
            let fix = format!("write a number of bytes from {} to {}", range.start(), range.end());
            Err(at.refuse(field::MAX_HEADER, word, fix))
        }
    }
}

fn versions(at: At<'_>, raw: &RawInbound) -> Result<Versions, Invalid> {
    if raw.versions.is_empty() {
        return Ok(Versions::ALL);
    }
    let version = |word: &Word| {
        let invalid = |_| at.refuse(field::VERSIONS, word, "write v1, v2 or both");
        word.parse::<Version>().map_err(invalid)
    };
    raw.versions.iter().map(version).collect()
}

fn server_first(
    at: At<'_>,
    word: &Word,
    mode: Mode,
    timeout: Duration,
) -> Result<ServerFirst, Invalid> {
    let refuse = |fix: String| Err(at.refuse(field::SERVER_FIRST, word, fix));
    if &**word == "wait" {
        return Ok(ServerFirst::Wait);
    }
    if mode == Mode::Require {
        let require = at.write(field::MODE, "require");
        return refuse(format!("leave it out: with {require} no server speaks before the header"));
    }
    let after = duration(at, field::SERVER_FIRST, word)?;
    if after >= timeout {
        let timeout = at.short(field::HEADER_TIMEOUT);
        return refuse(format!("write wait, or less than {timeout}"));
    }
    Ok(ServerFirst::After(after))
}
