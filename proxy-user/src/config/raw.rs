//! The words of a configuration as they were written, before anybody has judged them: of a file,
//! or of a command line, which is a file with one rule.
//!
//! What was not written has its default here already, so that whoever validates sees every word,
//! and `foreword schema` shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod tlvs;

pub use self::tlvs::{RawAdded, RawPass, RawTlvs};
use super::word::Word;

/// What a field is unless it is written. Flags have the same.
pub mod defaults {
    /// `hook`, `guardHook`.
    pub const HOOK: &str = "auto";
    /// `reply`.
    pub const REPLY: &str = "route";
    /// `drainTimeout`.
    pub const DRAIN_TIMEOUT: &str = "30s";
    /// `limits.connections`: as many as open files allow.
    pub const MAX_CONNECTIONS: &str = "auto";
    /// `limits.memory`: a quarter of the cgroup's or the machine's.
    pub const MEMORY: &str = "auto";
    /// `limits.ipv6Prefix`: what a host or a site usually has.
    pub const IPV6_PREFIX: &str = "64";
    /// `admin.socket`.
    pub const ADMIN_SOCKET: &str = "/run/foreword/admin.sock";
    /// `admin.http`.
    pub const ADMIN_HTTP: &str = "none";
    /// `guard.synPerSecondPerSource`: none.
    pub const NO_LIMIT: &str = "0";
    /// `guard.answers`.
    pub const ANSWERS: &str = "on";
    /// `inbound.untrusted`.
    pub const UNTRUSTED: &str = "refuse";
    /// `inbound.timeout`.
    pub const HEADER_TIMEOUT: &str = "5s";
    /// `inbound.maxHeader`.
    pub const MAX_HEADER: &str = "4096";
    /// `inbound.serverFirst`.
    pub const SERVER_FIRST: &str = "wait";
    /// `outbound.local`.
    pub const OUTBOUND_LOCAL: &str = "as-is";
    /// `outbound.tlvs.pass`.
    pub const TLV_PASS: &str = "all";
    /// `upstream.address`.
    pub const UPSTREAM: &str = "original";
    /// `upstream.resolve`.
    pub const RESOLVE: &str = "30s";
    /// `upstream.source`.
    pub const SOURCE: &str = "node";
    /// `upstream.whenDown`.
    pub const WHEN_DOWN: &str = "refuse";
    /// `upstream.connectTimeout`.
    pub const CONNECT_TIMEOUT: &str = "5s";
    /// `idleTimeout`.
    pub const IDLE_TIMEOUT: &str = "1h";
    /// `whenAbsent`.
    pub const WHEN_ABSENT: &str = "pass";
}

macro_rules! words {
    ($($name:ident = $default:ident;)+) => {
        $(fn $name() -> Word { defaults::$default.into() })+
    };
}

words! {
    hook = HOOK;
    reply = REPLY;
    drain_timeout = DRAIN_TIMEOUT;
    max_connections = MAX_CONNECTIONS;
    memory = MEMORY;
    ipv6_prefix = IPV6_PREFIX;
    admin_socket = ADMIN_SOCKET;
    admin_http = ADMIN_HTTP;
    no_limit = NO_LIMIT;
    answers = ANSWERS;
    untrusted = UNTRUSTED;
    header_timeout = HEADER_TIMEOUT;
    max_header = MAX_HEADER;
    server_first = SERVER_FIRST;
    outbound_local = OUTBOUND_LOCAL;
    upstream = UPSTREAM;
    resolve = RESOLVE;
    source = SOURCE;
    when_down = WHEN_DOWN;
    connect_timeout = CONNECT_TIMEOUT;
    idle_timeout = IDLE_TIMEOUT;
    when_absent = WHEN_ABSENT;
}

/// Foreword's configuration.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Foreword", inline)]
pub struct RawConfig {
    /// Interfaces that load-balancer traffic arrives on, by name or by pattern such as "eni*".
    pub interfaces: Vec<Word>,
    /// With a rule whose upstream.source is client: interfaces that upstreams answer by, besides
    /// those above.
    #[serde(default)]
    pub upstream_interfaces: Vec<Word>,
    /// With hairpin.sources: interfaces that this node's own pods are behind; if it is left out, those
    /// that the routing table reaches a pod by without a gateway, and that no default route leads to.
    #[serde(default)]
    pub pod_interfaces: Vec<Word>,
    /// With reply: arrival, interfaces that trusted sources may come in by whatever the routing table
    /// says; others have to be those that it reaches them by.
    #[serde(default)]
    pub trusted_interfaces: Vec<Word>,
    /// How to attach to TC: auto, tcx or clsact.
    #[serde(default = "hook")]
    pub hook: Word,
    /// Where the guard stands: auto, native, generic or tc.
    #[serde(default = "hook")]
    pub guard_hook: Word,
    /// By which interface replies leave: route (the routing table's answer) or arrival.
    #[serde(default = "reply")]
    pub reply: Word,
    /// Worker threads; one for each CPU allowed if it is left out.
    #[serde(default)]
    pub workers: Option<Word>,
    /// How long a stop waits for connections to end by themselves.
    #[serde(default = "drain_timeout")]
    pub drain_timeout: Word,
    /// How many connections there may be.
    #[serde(default)]
    pub limits: RawLimits,
    /// Where a run is looked at and told things.
    #[serde(default)]
    pub admin: RawAdmin,
    /// What happens to the connections of some ports.
    pub rules: Vec<RawRule>,
}

/// How many connections there may be; more are reset.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawLimits {
    /// At once, in the whole process: a number, or auto (as many as the limit of open files
    /// allows).
    #[serde(default = "max_connections")]
    pub connections: Word,
    /// Of one client at once, by the address that upstreams are told; 0: any number.
    #[serde(default = "no_limit")]
    pub per_source: Word,
    /// How much memory the buffers of all connections may take: a size such as 512MiB, auto (a
    /// quarter of what the cgroup or the machine has), or none (any amount).
    #[serde(default = "memory")]
    pub memory: Word,
    /// How many leading bits of an IPv6 address make one client, for perSource and for the guard's
    /// synPerSecondPerSource: 1 to 128. IPv4 clients are told apart by their whole address.
    #[serde(default = "ipv6_prefix")]
    pub ipv6_prefix: Word,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: max_connections(),
            per_source: no_limit(),
            memory: memory(),
            ipv6_prefix: ipv6_prefix(),
        }
    }
}

/// Where a run is looked at and told things.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawAdmin {
    /// The Unix socket of `foreword status` and the like, only for the user that runs it and for
    /// root: a path, or none.
    #[serde(default = "admin_socket")]
    pub socket: Word,
    /// Where metrics and probes are served over HTTP: an address with a port, such as
    /// 127.0.0.1:9478, or none.
    #[serde(default = "admin_http")]
    pub http: Word,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self { socket: admin_socket(), http: admin_http() }
    }
}

/// What happens to the connections of some ports.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRule {
    /// What it is called in messages, counters and reports.
    pub name: Word,
    /// Ports and ranges of ports, such as 443 and 8000-8010.
    pub ports: Vec<Word>,
    /// Address ranges that clients connect to; any, if it is left out. Of rules that share a port,
    /// the one with the narrowest range that fits is taken.
    #[serde(default)]
    pub destinations: Vec<Word>,
    /// What is expected of whoever connects.
    pub inbound: RawInbound,
    /// What the upstream is told.
    pub outbound: RawOutbound,
    /// Where connections go.
    #[serde(default)]
    pub upstream: RawUpstream,
    /// How long a connection may move nothing.
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Word,
    /// What is turned away before there is a connection.
    #[serde(default)]
    pub guard: RawGuard,
    /// This node's own pods.
    #[serde(default)]
    pub hairpin: RawHairpin,
    /// What becomes of new connections while no Foreword runs: pass or drop.
    #[serde(default = "when_absent")]
    pub when_absent: Word,
}

/// What is expected of whoever connects.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawInbound {
    /// Whether trusted sources send a header: require, optional or off.
    pub mode: Word,
    /// Address ranges whose headers are believed.
    #[serde(default)]
    pub trusted: Vec<Word>,
    /// What happens to others: refuse or direct.
    #[serde(default = "untrusted")]
    pub untrusted: Word,
    /// Versions that are allowed: v1, v2; both if it is left out.
    #[serde(default)]
    pub versions: Vec<Word>,
    /// By when the header must be complete, 3s or more.
    #[serde(default = "header_timeout")]
    pub timeout: Word,
    /// Longest header in bytes.
    #[serde(default = "max_header")]
    pub max_header: Word,
    /// With mode optional: wait, or the time after which a client that says nothing is taken for
    /// one without a header.
    #[serde(default = "server_first")]
    pub server_first: Word,
    /// Whether a second header is refused.
    #[serde(default)]
    pub reject_second: bool,
}

/// What the upstream is told.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawOutbound {
    /// The header's version: v1, v2 or none.
    pub version: Word,
    /// What a load balancer's own connection, such as a health check, is told as: as-is (LOCAL; in v1,
    /// which has no word for it, the connection's own addresses), or proxy (PROXY with this node as the
    /// client, for receivers that refuse LOCAL).
    #[serde(default = "outbound_local")]
    pub local: Word,
    /// What becomes of TLVs, in v2.
    #[serde(default)]
    pub tlvs: RawTlvs,
}

/// What is turned away before there is a connection.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawGuard {
    /// Whether sources that the rule refuses are dropped, rather than accepted and closed.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Connections that one source may open in a second; 0: any number.
    #[serde(default = "no_limit")]
    pub syn_per_second_per_source: Word,
    /// Where the rule requires headers or refuses sources, whether SYN-ACKs from its ports that leave
    /// by a protected interface, and answer a connection that was not steered, are dropped: on or
    /// off. It needs to be off where clients come in by an interface that is not protected.
    #[serde(default = "answers")]
    pub answers: Word,
}

fn enabled() -> bool {
    true
}

impl Default for RawGuard {
    fn default() -> Self {
        Self { enabled: enabled(), syn_per_second_per_source: no_limit(), answers: answers() }
    }
}

/// This node's own pods, with their interfaces among `interfaces`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawHairpin {
    /// Their address ranges: clients of their own, even with mode require.
    #[serde(default)]
    pub sources: Vec<Word>,
}

/// Where connections go.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawUpstream {
    /// original (what the client aimed at), or host:port; of a link-local address
    /// `[fe80::1%eth0]:port`.
    #[serde(default = "upstream")]
    pub address: Word,
    /// When the name in address is looked up again: once (at the start, and when the configuration is
    /// read again), or so long after the last time.
    #[serde(default = "resolve")]
    pub resolve: Word,
    /// Whose address the upstream sees as its peer: node or client.
    #[serde(default = "source")]
    pub source: Word,
    /// With source node, the node's addresses that connections are made from, in turn; none: the
    /// kernel chooses.
    #[serde(default)]
    pub source_addresses: Vec<Word>,
    /// What becomes of new connections while none of its addresses can be reached: refuse (a reset, as
    /// without Foreword, so that a health check that only connects fails) or accept.
    #[serde(default = "when_down")]
    pub when_down: Word,
    /// By when it must have answered.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Word,
    /// Whether TCP Fast Open is used.
    #[serde(default)]
    pub fast_open: bool,
}

impl Default for RawUpstream {
    fn default() -> Self {
        Self {
            address: upstream(),
            resolve: resolve(),
            source: source(),
            source_addresses: Vec::new(),
            when_down: when_down(),
            connect_timeout: connect_timeout(),
            fast_open: false,
        }
    }
}
