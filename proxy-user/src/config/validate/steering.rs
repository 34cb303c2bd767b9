//! Interfaces, hooks, and the way of replies.

use glob::Pattern;

use super::{Invalid, RawAttach, refuse};
use crate::config::settings::{GuardHook, Hook, InterfacePattern, Reply, Source, Steering};

/// `IFNAMSIZ - 1`.
const MAX_INTERFACE_NAME: usize = 15;

pub(super) fn steering(raw: &RawAttach, source: Source) -> Result<Steering, Invalid> {
    let interfaces = patterns("interface", &raw.interfaces)?;
    if interfaces.is_empty() {
        let fix = "name the interface that load-balancer traffic arrives on, such as eth0";
        return Err(Invalid::Missing { field: "interface", fix });
    }
    let upstream_interfaces = patterns("--upstream-interface", &raw.upstream_interfaces)?;
    if source == Source::Node
        && let Some(pattern) = upstream_interfaces.first()
    {
        let fix = "leave it out, or write --source client: upstreams answer the node by themselves";
        return Err(refuse("--upstream-interface", &pattern.to_string(), fix));
    }
    if source == Source::Client && interfaces.iter().any(|name| name.exact() == Some("lo")) {
        let fix = "leave lo out, or write --source node: answers on lo can't be told from others";
        return Err(refuse("--source", "client", fix));
    }
    Ok(Steering {
        interfaces,
        upstream_interfaces,
        hook: hook(&raw.hook)?,
        guard_hook: guard_hook(&raw.guard_hook)?,
        reply: reply(&raw.reply)?,
    })
}

fn patterns(field: &'static str, words: &[String]) -> Result<Vec<InterfacePattern>, Invalid> {
    let mut patterns = Vec::with_capacity(words.len());
    for word in words {
        let unfit = |c: char| c == '/' || c.is_whitespace();
        if word.is_empty() || word.len() > MAX_INTERFACE_NAME || word.contains(unfit) {
            return Err(refuse(field, word, "name one that `ip link` shows, or a pattern: veth*"));
        }
        let pattern = Pattern::new(word)
            .map_err(|error| refuse(field, word, format!("mend the pattern ({})", error.msg)))?;
        let pattern = InterfacePattern::new(pattern);
        if patterns.contains(&pattern) {
            return Err(refuse(field, word, "name each interface once"));
        }
        patterns.push(pattern);
    }
    Ok(patterns)
}

fn hook(text: &str) -> Result<Hook, Invalid> {
    match text {
        "auto" => Ok(Hook::Auto),
        "tcx" => Ok(Hook::Tcx),
        "clsact" => Ok(Hook::Clsact),
        _ => Err(refuse("--hook", text, "write auto, tcx or clsact")),
    }
}

fn guard_hook(text: &str) -> Result<GuardHook, Invalid> {
    match text {
        "auto" => Ok(GuardHook::Auto),
        "native" => Ok(GuardHook::Native),
        "generic" => Ok(GuardHook::Generic),
        "tc" => Ok(GuardHook::Tc),
        _ => Err(refuse("--guard-hook", text, "write auto, native, generic or tc")),
    }
}

fn reply(text: &str) -> Result<Reply, Invalid> {
    match text {
        "route" => Ok(Reply::Route),
        "arrival" => Ok(Reply::Arrival),
        _ => Err(refuse("--reply", text, "write route or arrival")),
    }
}
