//! What to do instead of a field that has no counterpart: one sentence for each, and one for those
//! that are not known here.

use super::tree::{Fields, Node, Value};

/// What to do instead of a field, by its path below the place where the table begins.
type Table = &'static [(&'static str, &'static str)];

const HTTP: &str = "HTTP is not read; this stays with the HTTP server behind";
const BUFFERS: &str = "there is no buffer per connection to set: what the other side \
                       doesn't take is not read";
const UNKNOWN: &str = "not known here, and not translated; check whether it matters";

/// Below a listener's configuration.
pub(super) const LISTENER: Table = &[
    (
        "clientCertificateValidation",
        "TLS passes through unread; the server behind still asks for certificates",
    ),
    ("perConnectionBufferLimitBytes", BUFFERS),
    (
        "proxyProtocol.rules",
        "TLVs don't become metadata here; with outbound v2 they are passed on, as outbound.tlvs says",
    ),
    ("httpSettings", HTTP),
    (
        "httpSettings.accessLog",
        "connections can be logged, but not requests: RUST_LOG=foreword=debug gives a line per connection",
    ),
    (
        "httpSettings.idleTimeout",
        "the nearest is the rule's idleTimeout, which ends a connection on which nothing moves, \
         even if a request is waiting for its answer",
    ),
    ("httpSettings.useRemoteAddress", FORWARDED_FOR),
    ("httpSettings.xffNumTrustedHops", FORWARDED_FOR),
    ("httpSettings.xffTrustedCIDRs", FORWARDED_FOR),
    ("httpSettings.skipXFFAppend", FORWARDED_FOR),
];

const FORWARDED_FOR: &str = "X-Forwarded-For is neither read nor written; the upstream learns the \
                             client from Foreword's header, or as its peer (upstream.source: client)";

/// Below a `BackendConfigPolicy`'s spec.
pub(super) const BACKEND: Table = &[
    ("connectTimeout", "it would be a rule's upstream.connectTimeout, but this has no rule"),
    (
        "dns",
        "the nearest is the rule's upstream.resolve: how often an upstream's name is looked up",
    ),
    ("perConnectionBufferLimitBytes", BUFFERS),
    (
        "tcpKeepalive",
        "keepalive is always on, after 60 s of silence; the host's net.ipv4.tcp_keepalive_intvl and \
         _probes set the rest",
    ),
    ("commonHttpProtocolOptions", HTTP),
    (
        "commonHttpProtocolOptions.idleTimeout",
        "the nearest is the rule's idleTimeout, which ends a connection on which nothing moves, \
         even if a request is waiting for its answer",
    ),
    (
        "commonHttpProtocolOptions.maxConnectionDuration",
        "connections are not ended for their age; let the server behind do it",
    ),
    ("http1ProtocolOptions", HTTP),
    ("http2ProtocolOptions", HTTP),
    (
        "tls",
        "TLS is not started here; the client's own passes through, behind the header. If clients use \
         none, let the server accept plain connections from this node",
    ),
    (
        "loadBalancer",
        "a rule has one upstream; name an address that is balanced, such as a Service's",
    ),
    ("healthCheck", UNCHECKED),
    ("outlierDetection", UNCHECKED),
    ("circuitBreakers", HTTP),
    (
        "circuitBreakers.maxConnections",
        "the nearest is limits.connections, which counts those of all rules",
    ),
    ("circuitBreakers.trackRemaining", "see `foreword status` and /metrics for what is open"),
];

const UNCHECKED: &str = "a rule has one upstream, which is down while it can't be connected to \
                         (upstream.whenDown). Name an address that is balanced, such as a Service's";

/// Below an object's own fields.
pub(super) const OBJECT: Table = &[];

/// Fields that share a sentence.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub paths: Vec<String>,
    pub instead: String,
}

impl Note {
    pub fn of(path: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { paths: vec![path.into()], instead: instead.into() }
    }
}

/// A note on each field that was not taken. `place` is where its map stands in the table.
pub(super) fn untaken(place: &str, fields: Fields, table: Table) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    let path = fields.path.clone();
    for (key, node) in fields.rest() {
        collect(&join(&path, &key), &join(place, &key), node, UNKNOWN, table, &mut notes);
    }
    notes
}

/// What has no sentence of its own has that of what it is part of.
fn collect(
    path: &str,
    place: &str,
    node: Node,
    inherited: &'static str,
    table: Table,
    notes: &mut Vec<Note>,
) {
    let own = table.iter().find(|(known, _)| *known == place);
    let instead = own.map_or(inherited, |(_, instead)| instead);
    let told_apart = table
        .iter()
        .any(|(known, _)| known.strip_prefix(place).is_some_and(|it| it.starts_with('.')));
    match node.value {
        Value::Map(entries) if told_apart && !entries.is_empty() => {
            for (key, node) in entries {
                collect(&join(path, &key), &join(place, &key), node, instead, table, notes);
            }
        }
        _ => match notes.iter_mut().find(|note| note.instead == instead) {
            Some(same) => same.paths.push(path.to_owned()),
            None => notes.push(Note::of(path, instead)),
        },
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
