//! What is expected of whoever connects: modes, trust, limits.

use std::time::Duration;

use super::duration;
use super::rules::ranges;
use super::scope::Scope;
use crate::address::Cidr;
use crate::config::field::{Field, Syntax, field};
use crate::config::invalid::Invalid;
use crate::config::raw::{RawInbound, RawRule};
use crate::config::settings::{Inbound, Mode, ServerFirst};
use crate::config::value::RawValue;
use crate::header::{Limits, Version, Versions};

/// Less than this is less than pp05 allows.
const LEAST_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn inbound(scope: Scope<'_>, rule: &RawRule) -> Result<Inbound, Invalid> {
    let raw = &rule.inbound;
    let mode = scope.required_choice(field!(rule.inbound.mode), raw.mode.as_ref())?;
    let untrusted = scope.choice(field!(rule.inbound.untrusted), &raw.untrusted)?;
    let trusted = trusted(scope, raw, mode)?;
    let timeout = header_timeout(scope, &raw.timeout)?;
    let max_header = max_header(scope, &raw.max_header)?;
    Ok(Inbound {
        mode,
        trusted,
        hairpin: ranges(scope, field!(rule.hairpin.sources), &rule.hairpin.sources)?,
        untrusted,
        limits: Limits { max_header, versions: versions(scope, raw)? },
        timeout,
        server_first: server_first(scope, &raw.server_first, mode, timeout)?,
        reject_second: raw.reject_second,
    })
}

/// Where headers are read, somebody's are believed.
fn trusted(scope: Scope<'_>, raw: &RawInbound, mode: Mode) -> Result<Vec<Cidr>, Invalid> {
    const FIELD: Field = field!(rule.inbound.trusted);
    let trusted = ranges(scope, FIELD, &raw.trusted)?;
    if !trusted.is_empty() || mode == Mode::Off {
        return Ok(trusted);
    }
    let (example, everybody) = match scope.syntax() {
        Syntax::Flags => ("10.0.0.0/24", "0.0.0.0/0,::/0"),
        Syntax::File => ("[10.0.0.0/24]", "[\"0.0.0.0/0\", \"::/0\"]"),
    };
    Err(Invalid::TrustsNobody {
        wanted: scope.of_rule(scope.write(field!(rule.inbound.mode), &mode.to_string())),
        trust: scope.name(FIELD),
        example: scope.write(FIELD, example),
        everybody: scope.write(FIELD, everybody),
        position: raw.mode.as_ref().and_then(RawValue::position),
    })
}

fn header_timeout(scope: Scope<'_>, value: &RawValue) -> Result<Duration, Invalid> {
    let timeout = duration(scope, field!(rule.inbound.timeout), value)?;
    if timeout < LEAST_TIMEOUT {
        let fix = "write 3s or more: a header can be lost and sent again";
        return Err(scope.refuse(field!(rule.inbound.timeout), value, fix));
    }
    Ok(timeout)
}

pub(super) fn max_header(scope: Scope<'_>, value: &RawValue) -> Result<usize, Invalid> {
    let range = Limits::LOWEST_MAX..=Limits::HIGHEST_MAX;
    match value.parse() {
        Ok(bytes) if range.contains(&bytes) => Ok(bytes),
        _ => {
            let fix = format!("write a number of bytes from {} to {}", range.start(), range.end());
            Err(scope.refuse(field!(rule.inbound.max_header), value, fix))
        }
    }
}

fn versions(scope: Scope<'_>, raw: &RawInbound) -> Result<Versions, Invalid> {
    if raw.versions.is_empty() {
        return Ok(Versions::ALL);
    }
    let version = |value: &RawValue| {
        let invalid =
            |_| scope.refuse(field!(rule.inbound.versions), value, "write v1, v2 or both");
        value.parse::<Version>().map_err(invalid)
    };
    raw.versions.iter().map(version).collect()
}

fn server_first(
    scope: Scope<'_>,
    value: &RawValue,
    mode: Mode,
    timeout: Duration,
) -> Result<ServerFirst, Invalid> {
    let refuse = |fix: String| Err(scope.refuse(field!(rule.inbound.server_first), value, fix));
    if &**value == "wait" {
        return Ok(ServerFirst::Wait);
    }
    if mode == Mode::Require {
        let require = scope.write(field!(rule.inbound.mode), "require");
        return refuse(format!("leave it out: with {require} no server speaks before the header"));
    }
    let after = duration(scope, field!(rule.inbound.server_first), value)?;
    if after >= timeout {
        let timeout = scope.name(field!(rule.inbound.timeout));
        return refuse(format!("write wait, or less than {timeout}"));
    }
    Ok(ServerFirst::After(after))
}
