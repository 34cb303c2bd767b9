//! What a configuration will do, in sentences, as `foreword check` prints it.

use humantime::format_duration;

use super::settings::{
    ConnectionLimits, Inbound, LocalAs, MemoryLimit, Mode, Outbound, Rule, ServerFirst, Settings,
    Source, Untrusted, WhenAbsent, WhenDown,
};
use crate::address::list;
use crate::header::{Pass, Version};

/// The settings, one fact per line.
pub fn explain(settings: &Settings) -> Vec<String> {
    let Settings { steering, workers, drain_timeout, limits, admin, rules, .. } = settings;
    let interfaces: Vec<_> = steering.interfaces.iter().map(ToString::to_string).collect();
    let workers = workers.map_or_else(|| "one for each CPU".to_owned(), |count| count.to_string());
    let mut lines = vec![
        format!("interfaces   {}", interfaces.join(", ")),
        format!("workers      {workers}"),
        format!("a stop       waits {} for connections", format_duration(*drain_timeout)),
        format!("at once      {}", at_once(*limits)),
        format!("memory       {} for their buffers", memory(limits.memory)),
    ];
    if let Some(socket) = &admin.socket {
        lines.push(format!("commands     by {}", socket.display()));
    }
    if let Some(http) = admin.http {
        lines.push(format!("metrics      http://{http}/metrics; probes are /healthz and /readyz"));
    }
    for rule in rules {
        lines.push(format!("rule {}", rule.name));
        lines
            .extend(explain_rule(rule).into_iter().map(|(what, how)| format!("  {what:<11}{how}")));
    }
    lines
}

fn at_once(limits: ConnectionLimits) -> String {
    let all = limits.connections.map_or_else(
        || "as many connections as open files allow".to_owned(),
        |limit| format!("{limit} connections, or as many as open files allow"),
    );
    match limits.per_source {
        Some(limit) => format!("{all}; {limit} of one client{}", of_network(limits)),
        None => all,
    }
}

fn memory(limit: MemoryLimit) -> String {
    match limit {
        MemoryLimit::Quarter => "a quarter of what the cgroup or the machine has".to_owned(),
        MemoryLimit::Any => "any amount".to_owned(),
        MemoryLimit::Bytes(bytes) => {
            // In the unit that it was written in, or a greater one.
            let unit = (bytes.trailing_zeros() / 10).min(4);
            let name = ["B", "KiB", "MiB", "GiB", "TiB"][unit as usize];
            format!("{} {name} at most", bytes.get() >> (10 * unit))
        }
    }
}

/// What counts as one client.
fn of_network(limits: ConnectionLimits) -> String {
    match limits.ipv6_prefix.length() {
        128 => String::new(),
        length => format!(" (an IPv4 address, or an IPv6 /{length})"),
    }
}

fn explain_rule(rule: &Rule) -> Vec<(&'static str, String)> {
    let Rule { ports, inbound, outbound, upstream, .. } = rule;
    let seen = match upstream.source {
        Source::Node if upstream.source_addresses.is_empty() => {
            "which sees this node as its peer".to_owned()
        }
        Source::Node => {
            let addresses: Vec<_> =
                upstream.source_addresses.iter().map(ToString::to_string).collect();
            format!("which sees this node as its peer, by {} in turn", addresses.join(" and "))
        }
        Source::Client => {
            "which sees the client as its peer, and has to answer by this node".to_owned()
        }
    };
    let addresses = match rule.destinations.as_slice() {
        [] => "any address".to_owned(),
        ranges => list(ranges),
    };
    let mut lines = vec![
        ("takes", format!("connections to port {ports} of {addresses}")),
        ("sources", sources(rule)),
        ("header", header(inbound)),
    ];
    if !inbound.hairpin.is_empty() {
        let pods = list(&inbound.hairpin);
        lines.push(("pods", format!("{pods} are clients of their own, and send no header")));
    }
    let connect = format_duration(upstream.connect_timeout);
    lines.extend([
        ("upstream", format!("{}, {seen}; it may take {connect} to answer", upstream.address)),
        ("while down", down(upstream.when_down).to_owned()),
        ("it is told", told(outbound)),
        (
            "idle",
            format!("a connection may move nothing for {}", format_duration(rule.idle_timeout)),
        ),
        ("absent", absent(rule.when_absent).to_owned()),
    ]);
    lines
}

fn sources(rule: &Rule) -> String {
    let Rule { inbound, guard, .. } = rule;
    let limit = guard
        .syn_limit
        .map_or_else(String::new, |limit| format!("; each may open {limit} connections a second"));
    if inbound.trusted.is_empty() {
        return format!("anybody{limit}");
    }
    let others = match (inbound.untrusted, guard.enabled) {
        (Untrusted::Refuse, true) => "get no answer",
        (Untrusted::Refuse, false) => "are closed",
        (Untrusted::Direct, _) => "are clients of their own, and must send no header",
    };
    format!("{}; others {others}{limit}", list(&inbound.trusted))
}

fn header(inbound: &Inbound) -> String {
    let Inbound { mode, limits, timeout, server_first, reject_second, .. } = inbound;
    if *mode == Mode::Off {
        return "not read: every byte is payload".to_owned();
    }
    let versions: Vec<_> = [Version::V1, Version::V2]
        .into_iter()
        .filter(|version| limits.versions.contains(*version))
        .map(|version| version.to_string())
        .collect();
    let (versions, bytes) = (versions.join(" or "), limits.max_header);
    let timeout = format_duration(*timeout);
    let without = match mode {
        Mode::Require => "; without one, a connection is closed",
        Mode::Optional | Mode::Off => "; without one, the peer is the client",
    };
    let silent = match server_first {
        ServerFirst::Wait => String::new(),
        ServerFirst::After(time) => {
            format!("; one that says nothing for {} has none", format_duration(*time))
        }
    };
    let second = if *reject_second { "; a second one is refused" } else { "" };
    format!("{versions}, within {timeout}, {bytes} bytes at most{without}{silent}{second}")
}

fn told(outbound: &Outbound) -> String {
    let Some(version) = outbound.version else { return "nothing: only the payload".to_owned() };
    let checks = match outbound.local {
        LocalAs::Proxy => "; load balancers' own connections (LOCAL) as this node's",
        LocalAs::AsIs => "",
    };
    if version == Version::V1 {
        return format!("client and destination, in a v1 line{checks}");
    }
    let tlvs = &outbound.tlvs;
    let passed = match tlvs.pass {
        Pass::All => "the inbound TLVs",
        Pass::None => "no inbound TLVs",
        Pass::Only(_) => "some inbound TLVs",
    };
    let mut parts = vec![format!("client and destination, in a v2 header with {passed}")];
    if outbound.unique_id {
        parts.push("a unique id".to_owned());
    }
    if let Some(name) = &tlvs.authority {
        parts.push(format!("the authority {name}"));
    }
    parts.extend(tlvs.custom.iter().map(|tlv| format!("TLV {:#04x}", tlv.kind())));
    if tlvs.crc32c {
        parts.push("a checksum".to_owned());
    }
    parts.join(", ") + checks
}

const fn down(when_down: WhenDown) -> &'static str {
    match when_down {
        WhenDown::Refuse => "new connections are refused, as the upstream itself would",
        WhenDown::Accept => "new connections are accepted, and reset when it has been tried",
    }
}

const fn absent(when_absent: WhenAbsent) -> &'static str {
    match when_absent {
        WhenAbsent::Pass => "without a process, new connections flow directly",
        WhenAbsent::Drop => "without a process, new connections get no answer",
    }
}
