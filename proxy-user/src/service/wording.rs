//! What steering reports, in the user's words: as flags or as keys of a file, whichever the settings
//! were written in.

use anyhow::{Error, anyhow};

use crate::config::field::{Syntax, field};
use crate::config::settings;
use crate::steer::{Attached, Bypass, Refusal, Role, Steering};

/// An error whose refusals name what to write instead.
pub fn with_fields(error: Error, syntax: Syntax) -> Error {
    if !error.chain().any(<dyn std::error::Error>::is::<Refusal>) {
        return error;
    }
    let causes = error.chain().map(|cause| match cause.downcast_ref() {
        Some(refusal) => refused(refusal, syntax),
        None => cause.to_string(),
    });
    anyhow!(causes.collect::<Vec<_>>().join(": "))
}

fn refused(refusal: &Refusal, syntax: Syntax) -> String {
    match (refusal, syntax) {
        (Refusal::NoTcx, _) => format!(
            "{} needs Linux 6.6 or newer; leave it out, or write {}",
            syntax.write(field!(hook), "tcx"),
            syntax.write(field!(hook), "clsact")
        ),
        (Refusal::NoXdp { .. }, _) => format!(
            "{refusal}; leave {} out, or write {}",
            syntax.name(field!(guard_hook)),
            syntax.write(field!(guard_hook), "tc")
        ),
        (Refusal::AlreadySteered { .. }, Syntax::Flags) => {
            format!("{refusal}, or take over from it with --take-over")
        }
        // Started from a file, a run takes over without being asked.
        (Refusal::AlreadySteered { .. }, Syntax::File) => refusal.to_string(),
    }
}

/// How steering is attached, one fact a line.
pub fn describe(steering: &Steering, settings: &settings::Steering) -> Vec<String> {
    let attached: Vec<_> = steering.attached().collect();
    let protected = names(&attached, Role::Protected).unwrap_or_else(|| {
        let patterns: Vec<_> = settings.interfaces.iter().map(ToString::to_string).collect();
        format!("nothing yet: no interface is called {}", patterns.join(", "))
    });
    let mut lines = vec![format!("steering  {protected} ({} ingress)", steering.hook())];
    let upstream = names(&attached, Role::Upstream);
    lines.extend(upstream.map(|upstream| format!("upstreams answer by {upstream}")));
    lines.push(format!("through   {} into a private network namespace", steering.veth()));
    lines.push(format!("maps      {}", steering.pins().display()));
    let guards = attached
        .iter()
        .filter_map(|on| Some(format!("{} ({})", on.interface, on.guard?.describe())));
    let guards: Vec<_> = guards.collect();
    if !guards.is_empty() {
        lines.push(format!("guard     {}", guards.join(", ")));
    }
    if steering.has_hold() {
        lines.push("absent    new connections are dropped while no Foreword runs".to_owned());
    }
    if !steering.is_tracking() {
        lines.push("tracking  off: no cgroup2 file system is mounted".to_owned());
    }
    lines
}

/// The names of the attached interfaces of one role; `None` if there are none.
fn names(attached: &[Attached<'_>], role: Role) -> Option<String> {
    let names = attached.iter().filter(|on| on.role == role).map(|on| on.interface);
    let names: Vec<_> = names.collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Who has answered whom past steering.
pub fn bypassed(bypass: &Bypass) -> String {
    let Bypass { client, local, came_by, left_by } = bypass;
    let from = match came_by {
        None => "this host".to_owned(),
        Some(interface) => format!("a server behind {interface}"),
    };
    format!("{from} answered {client} as {local} by {left_by}")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::steer::GuardUsed;

    fn no_xdp() -> Error {
        let (interface, guard) = ("eth0".to_owned(), GuardUsed::Native);
        let source = std::io::Error::other("no room").into();
        Error::from(Refusal::NoXdp { interface, guard, source })
    }

    #[test]
    fn a_refusal_names_what_to_write_where_the_settings_were_written() {
        let words = |error, syntax| format!("{:#}", with_fields(error, syntax));
        let in_chain = || Err::<(), _>(no_xdp()).context("cannot attach to eth0").unwrap_err();
        assert_eq!(
            words(in_chain(), Syntax::Flags),
            "cannot attach to eth0: no native XDP on eth0; leave --guard-hook out, or write \
             --guard-hook tc: no room"
        );
        assert!(
            words(in_chain(), Syntax::File).contains("leave guardHook out, or write guardHook: tc")
        );
        assert!(
            words(Refusal::NoTcx.into(), Syntax::File).starts_with("hook: tcx needs Linux 6.6")
        );
        let taken = || Refusal::AlreadySteered { interface: "eth0".to_owned(), pid: 7 };
        let flags = words(taken().into(), Syntax::Flags);
        assert!(
            flags.starts_with("eth0 is already steered by another Foreword (pid 7)"),
            "{flags}"
        );
        assert!(flags.ends_with("--take-over"), "{flags}");
        assert!(!words(taken().into(), Syntax::File).contains("--take-over"));
        assert_eq!(words(anyhow!("x").context("y"), Syntax::Flags), "y: x");
    }

    #[test]
    fn a_bypass_names_both_ends_and_the_interfaces() {
        let bypass = Bypass {
            client: "192.0.2.1:40000".parse().unwrap(),
            local: "203.0.113.10:443".parse().unwrap(),
            came_by: None,
            left_by: "eth0".to_owned(),
        };
        let expected = "this host answered 192.0.2.1:40000 as 203.0.113.10:443 by eth0";
        assert_eq!(bypassed(&bypass), expected);
        let behind = Bypass { came_by: Some("eth1".to_owned()), ..bypass };
        assert!(bypassed(&behind).starts_with("a server behind eth1 answered"));
    }
}
