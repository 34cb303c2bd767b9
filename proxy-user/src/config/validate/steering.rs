//! Interfaces, hooks, and the way of replies.

use glob::Pattern;

use super::scope::Scope;
use crate::config::field::{Field, field};
use crate::config::invalid::Invalid;
use crate::config::raw::RawConfig;
use crate::config::settings::{InterfacePattern, Reply, Source, Steering};
use crate::config::value::RawValue;

/// `IFNAMSIZ - 1`.
pub(super) const MAX_INTERFACE_NAME: usize = 15;
/// `ALTIFNAMSIZ - 1`: an alternative name may be longer than a name.
const MAX_ALTERNATIVE_NAME: usize = 127;

pub(super) fn steering(
    raw: &RawConfig,
    scope: Scope<'_>,
    source: Source,
) -> Result<Steering, Invalid> {
    let reply = scope.choice(field!(reply), &raw.reply)?;
    Ok(Steering {
        interfaces: interfaces(raw, scope, source)?,
        upstream_interfaces: upstream_interfaces(raw, scope, source)?,
        pod_interfaces: pod_interfaces(raw, scope)?,
        trusted_interfaces: trusted_interfaces(raw, scope, reply)?,
        hook: scope.choice(field!(hook), &raw.hook)?,
        guard_hook: scope.choice(field!(guard_hook), &raw.guard_hook)?,
        reply,
    })
}

fn interfaces(
    raw: &RawConfig,
    scope: Scope<'_>,
    source: Source,
) -> Result<Vec<InterfacePattern>, Invalid> {
    let interfaces = patterns(scope, field!(interfaces), &raw.interfaces)?;
    if interfaces.is_empty() {
        let fix = "name the interface that load-balancer traffic arrives on, such as eth0";
        return Err(scope.missing(field!(interfaces), fix));
    }
    if source == Source::Client && interfaces.iter().any(|name| name.exact() == Some("lo")) {
        const FIELD: Field = field!(rule.upstream.source);
        let node = scope.write(FIELD, "node");
        let fix = format!("leave lo out, or write {node}: answers on lo can't be told from others");
        return Err(scope.refuse(FIELD, &"client".into(), fix));
    }
    Ok(interfaces)
}

fn upstream_interfaces(
    raw: &RawConfig,
    scope: Scope<'_>,
    source: Source,
) -> Result<Vec<InterfacePattern>, Invalid> {
    const FIELD: Field = field!(upstream_interfaces);
    let interfaces = patterns(scope, FIELD, &raw.upstream_interfaces)?;
    match raw.upstream_interfaces.first() {
        Some(first) if source == Source::Node => {
            let client = scope.write(field!(rule.upstream.source), "client");
            let fix =
                format!("leave it out, or write {client}: upstreams answer the node by themselves");
            Err(scope.refuse(FIELD, first, fix))
        }
        _ => Ok(interfaces),
    }
}

fn pod_interfaces(raw: &RawConfig, scope: Scope<'_>) -> Result<Vec<InterfacePattern>, Invalid> {
    const FIELD: Field = field!(pod_interfaces);
    let interfaces = patterns(scope, FIELD, &raw.pod_interfaces)?;
    match raw.pod_interfaces.first() {
        Some(first) if raw.rules.iter().all(|rule| rule.hairpin.sources.is_empty()) => {
            let hairpin = scope.name(field!(rule.hairpin.sources));
            let fix = format!("leave it out, or name the pods' addresses by {hairpin}");
            Err(scope.refuse(FIELD, first, fix))
        }
        _ => Ok(interfaces),
    }
}

fn trusted_interfaces(
    raw: &RawConfig,
    scope: Scope<'_>,
    reply: Reply,
) -> Result<Vec<InterfacePattern>, Invalid> {
    const FIELD: Field = field!(trusted_interfaces);
    let interfaces = patterns(scope, FIELD, &raw.trusted_interfaces)?;
    match raw.trusted_interfaces.first() {
        Some(first) if reply == Reply::Route => {
            let arrival = scope.write(field!(reply), "arrival");
            let fix = format!(
                "leave it out, or write {arrival}: replies that the routing table sends reach nobody \
                 who lies about an address"
            );
            Err(scope.refuse(FIELD, first, fix))
        }
        _ => Ok(interfaces),
    }
}

fn patterns(
    scope: Scope<'_>,
    field: Field,
    values: &[RawValue],
) -> Result<Vec<InterfacePattern>, Invalid> {
    let mut patterns = Vec::with_capacity(values.len());
    for value in values {
        let unfit = |c: char| c == '/' || c.is_whitespace();
        if value.is_empty() || value.len() > MAX_ALTERNATIVE_NAME || value.contains(unfit) {
            return Err(scope.refuse(
                field,
                value,
                "name one that `ip link` shows, or a pattern: veth*",
            ));
        }
        let pattern = Pattern::new(value).map_err(|error| {
            scope.refuse(field, value, format!("correct the pattern ({})", error.msg))
        })?;
        let pattern = InterfacePattern::new(pattern);
        if patterns.contains(&pattern) {
            return Err(scope.refuse(field, value, "name each interface once"));
        }
        patterns.push(pattern);
    }
    Ok(patterns)
}
