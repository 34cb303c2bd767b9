//! Settings for tests, made from text as a user's are, so that a new option doesn't touch them.

use super::raw::{RawConfig, RawInbound, RawOutbound, RawRule};
use super::settings::{Inbound, Mode, Settings, Upstream};
use super::value::RawValue;
use super::{Syntax, file, validate};

/// The settings of a file with this text.
#[track_caller]
pub fn settings(text: &str) -> Settings {
    validate(&file::parse(text).unwrap(), Syntax::File).unwrap()
}

/// Values, as they are written.
pub fn values(texts: &[&str]) -> Vec<RawValue> {
    texts.iter().map(|&text| text.into()).collect()
}

/// A valid configuration with one rule, `attach`, for port 80; it requires headers from 10.0.0.0/8.
pub fn raw() -> RawConfig {
    RawConfig { interfaces: values(&["eth0"]), rules: vec![raw_rule()], ..RawConfig::default() }
}

fn raw_rule() -> RawRule {
    RawRule {
        name: Some("attach".into()),
        ports: values(&["80"]),
        inbound: RawInbound {
            mode: Some("require".into()),
            trusted: values(&["10.0.0.0/8"]),
            ..RawInbound::default()
        },
        outbound: RawOutbound { version: Some("v2".into()), ..RawOutbound::default() },
        ..RawRule::default()
    }
}

/// The inbound settings of that rule, with another mode and other trusted sources.
pub fn inbound(mode: Mode, trusted: &[&str]) -> Inbound {
    let inbound = validate(&raw(), Syntax::File).unwrap().rules.remove(0).inbound;
    let trusted = trusted.iter().map(|range| range.parse().unwrap()).collect();
    Inbound { mode, trusted, ..inbound }
}

/// The upstream of that rule.
pub fn upstream() -> Upstream {
    validate(&raw(), Syntax::File).unwrap().rules.remove(0).upstream
}
