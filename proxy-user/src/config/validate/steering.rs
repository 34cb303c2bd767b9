//! Interfaces, hooks, and the way of replies.

use glob::Pattern;

use super::Invalid;
use crate::config::field::{self, At, Field};
use crate::config::raw::RawConfig;
use crate::config::settings::{GuardHook, Hook, InterfacePattern, Reply, Source, Steering};
use crate::config::word::Word;

/// `IFNAMSIZ - 1`.
pub(super) const MAX_INTERFACE_NAME: usize = 15;
/// `ALTIFNAMSIZ - 1`: an alternative name may be longer than a name.
const MAX_ALTERNATIVE_NAME: usize = 127;

pub(super) fn steering(raw: &RawConfig, at: At<'_>, source: Source) -> Result<Steering, Invalid> {
    let interfaces = patterns(at, field::INTERFACES, &raw.interfaces)?;
    if interfaces.is_empty() {
        let fix = "name the interface that load-balancer traffic arrives on, such as eth0";
        return Err(at.missing(field::INTERFACES, fix));
    }
    let upstream_interfaces = patterns(at, field::UPSTREAM_INTERFACES, &raw.upstream_interfaces)?;
    if source == Source::Node
        && let Some(word) = raw.upstream_interfaces.first()
    {
        let client = at.write(field::SOURCE, "client");
        let fix =
            format!("leave it out, or write {client}: upstreams answer the node by themselves");
        return Err(at.refuse(field::UPSTREAM_INTERFACES, word, fix));
    }
    if source == Source::Client && interfaces.iter().any(|name| name.exact() == Some("lo")) {
        let node = at.write(field::SOURCE, "node");
        let fix = format!("leave lo out, or write {node}: answers on lo can't be told from others");
        return Err(at.refuse(field::SOURCE, &"client".into(), fix));
    }
    let pod_interfaces = patterns(at, field::POD_INTERFACES, &raw.pod_interfaces)?;
    let trusted_interfaces = patterns(at, field::TRUSTED_INTERFACES, &raw.trusted_interfaces)?;
    if let Some(word) = raw.pod_interfaces.first()
        && raw.rules.iter().all(|rule| rule.hairpin.sources.is_empty())
    {
        let fix =
            format!("leave it out, or name the pods' addresses by {}", at.short(field::HAIRPIN));
        return Err(at.refuse(field::POD_INTERFACES, word, fix));
    }
    let reply = reply(at, &raw.reply)?;
    if let Some(word) = raw.trusted_interfaces.first()
        && reply == Reply::Route
    {
        let arrival = at.write(field::REPLY, "arrival");
        let fix = format!(
            "leave it out, or write {arrival}: replies that the routing table sends reach nobody who \
             lies about an address"
        );
        return Err(at.refuse(field::TRUSTED_INTERFACES, word, fix));
    }
    Ok(Steering {
        interfaces,
        upstream_interfaces,
        pod_interfaces,
        trusted_interfaces,
        hook: hook(at, &raw.hook)?,
        guard_hook: guard_hook(at, &raw.guard_hook)?,
        reply,
    })
}

pub(super) fn patterns(
    at: At<'_>,
    field: Field,
    words: &[Word],
) -> Result<Vec<InterfacePattern>, Invalid> {
    let mut patterns = Vec::with_capacity(words.len());
    for word in words {
        let unfit = |c: char| c == '/' || c.is_whitespace();
        if word.is_empty() || word.len() > MAX_ALTERNATIVE_NAME || word.contains(unfit) {
            return Err(at.refuse(
                field,
                word,
                "name one that `ip link` shows, or a pattern: veth*",
            ));
        }
        let pattern = Pattern::new(word)
            .map_err(|error| at.refuse(field, word, format!("mend the pattern ({})", error.msg)))?;
        let pattern = InterfacePattern::new(pattern);
        if patterns.contains(&pattern) {
            return Err(at.refuse(field, word, "name each interface once"));
        }
        patterns.push(pattern);
    }
    Ok(patterns)
}

fn hook(at: At<'_>, word: &Word) -> Result<Hook, Invalid> {
    match &**word {
        "auto" => Ok(Hook::Auto),
        "tcx" => Ok(Hook::Tcx),
        "clsact" => Ok(Hook::Clsact),
        _ => Err(at.refuse(field::HOOK, word, "write auto, tcx or clsact")),
    }
}

fn guard_hook(at: At<'_>, word: &Word) -> Result<GuardHook, Invalid> {
    match &**word {
        "auto" => Ok(GuardHook::Auto),
        "native" => Ok(GuardHook::Native),
        "generic" => Ok(GuardHook::Generic),
        "tc" => Ok(GuardHook::Tc),
        _ => Err(at.refuse(field::GUARD_HOOK, word, "write auto, native, generic or tc")),
    }
}

fn reply(at: At<'_>, word: &Word) -> Result<Reply, Invalid> {
    match &**word {
        "route" => Ok(Reply::Route),
        "arrival" => Ok(Reply::Arrival),
        _ => Err(at.refuse(field::REPLY, word, "write route or arrival")),
    }
}
