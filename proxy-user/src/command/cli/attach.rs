//! The flags of `foreword attach`, and the configuration that they amount to.

use clap::Args;

use super::LogFormat;
use crate::config::field::{self, At};
use crate::config::raw::{
    RawAdded, RawAdmin, RawGuard, RawHairpin, RawInbound, RawLimits, RawOutbound, RawPass, RawRule,
    RawTlvs, RawUpstream, defaults,
};
use crate::config::word::Word;
use crate::config::{Invalid, RawConfig};

/// One rule, from flags.
#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a flag is on the command line or is not")]
pub struct Attach {
    /// Interfaces that load-balancer traffic arrives on; 'eni*' for all of such a name, also those
    /// that come later.
    #[arg(value_name = "IFACE", required = true)]
    interfaces: Vec<String>,

    /// Ports to protect: 80,443 or 8000-8010.
    #[arg(long = "port", value_name = "PORT|A-B", required = true, value_delimiter = ',')]
    ports: Vec<String>,

    /// Address ranges that clients connect to [default: any].
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    destination: Vec<String>,

    /// Whether trusted sources send a header: require, optional or off.
    #[arg(long, value_name = "MODE")]
    inbound: String,

    /// Address ranges whose headers are believed: the load balancers'.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    trust: Vec<String>,

    /// What happens to other sources: refuse, or direct (they are clients of their own).
    #[arg(long, value_name = "WORD", default_value = defaults::UNTRUSTED)]
    untrusted: String,

    /// Address ranges of this node's own pods, with their interfaces among IFACE: what they connect
    /// to comes back to the node, and they are clients of their own even with --inbound require.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    hairpin: Vec<String>,

    /// With --hairpin, interfaces that this node's own pods are behind [default: those that the
    /// routing table reaches a pod by without a gateway, and that no default route leads to].
    #[arg(long, value_name = "IFACE", value_delimiter = ',')]
    pod_interface: Vec<String>,

    /// With --reply arrival, interfaces that trusted sources may come in by whatever the routing
    /// table says; others have to be those that it reaches them by.
    #[arg(long, value_name = "IFACE", value_delimiter = ',')]
    trusted_interface: Vec<String>,

    /// Drop the first packets of sources that would be refused, before there is a socket: on or
    /// off (they are accepted and closed).
    #[arg(long, value_name = "WORD", default_value = "on")]
    guard: String,

    /// Where a header is required or sources are refused, drop SYN-ACKs that leave IFACE and answer
    /// a connection that was not steered: on or off (clients come in by other interfaces, too).
    #[arg(long, value_name = "WORD", default_value = defaults::ANSWERS)]
    guard_answers: String,

    /// Connections that one source may open in a second; 0: any number.
    #[arg(long, value_name = "N", default_value = defaults::NO_LIMIT)]
    syn_limit: String,

    /// Versions of the header that are allowed [default: v1,v2].
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    versions: Vec<String>,

    /// How long a header may take, 3s or more.
    #[arg(long, value_name = "TIME", default_value = defaults::HEADER_TIMEOUT)]
    header_timeout: String,

    /// Longest header, in bytes.
    #[arg(long, value_name = "BYTES", default_value = defaults::MAX_HEADER)]
    max_header: String,

    /// With --inbound optional, a client that says nothing: wait for it until the header's
    /// deadline, or take it for one without a header after a time such as 200ms, so that a server
    /// that speaks first can. A header that comes later than that is payload.
    #[arg(long, value_name = "wait|TIME", default_value = defaults::SERVER_FIRST)]
    server_first: String,

    /// Refuse a connection in which a second header follows the first.
    #[arg(long)]
    reject_second: bool,

    /// The header written to the upstream: v1, v2 or none.
    #[arg(long, value_name = "VERSION")]
    outbound: String,

    /// What a load balancer's own connection, such as a health check, is told as: as-is (LOCAL; in
    /// v1, the connection's own addresses), or proxy (PROXY with this node as the client, for
    /// receivers that refuse LOCAL).
    #[arg(long, value_name = "WORD", default_value = defaults::OUTBOUND_LOCAL)]
    outbound_local: String,

    /// TLVs of the inbound header that are passed on: all, none, or types such as 0xEA.
    #[arg(long, value_name = "TYPE", default_value = defaults::TLV_PASS, value_delimiter = ',')]
    tlv_pass: Vec<String>,

    /// TLVs that are not passed on, by type.
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    tlv_drop: Vec<String>,

    /// A TLV of our own: unique-id, authority=NAME, 0xE5=text or 0xE5=hex:00ff.
    #[arg(long, value_name = "TLV")]
    tlv_add: Vec<String>,

    /// Write a checksum (CRC32C).
    #[arg(long)]
    tlv_crc32c: bool,

    /// Where connections go: original (what the client aimed at), or host:port; of a link-local
    /// address `[fe80::1%eth0]:port`.
    #[arg(long, value_name = "ADDRESS", default_value = defaults::UPSTREAM)]
    upstream: String,

    /// When the name of an upstream is looked up again: once (never), or so long after the last time.
    #[arg(long, value_name = "once|TIME", default_value = defaults::RESOLVE)]
    resolve: String,

    /// Whose address the upstream sees as its peer: node, or client. What it answers to a client
    /// must come by this node: from a server or pod of this node, or routed through it.
    #[arg(long, value_name = "WORD", default_value = defaults::SOURCE)]
    source: String,

    /// Addresses of this node's that connections to the upstream are made from, in turn: each has local
    /// ports of its own.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    source_address: Vec<String>,

    /// What becomes of new connections while an upstream can't be reached: refuse (they are reset, so
    /// that a health check that only connects fails), or accept.
    #[arg(long, value_name = "WORD", default_value = defaults::WHEN_DOWN)]
    when_down: String,

    /// How long an upstream may take to answer.
    #[arg(long, value_name = "TIME", default_value = defaults::CONNECT_TIMEOUT)]
    connect_timeout: String,

    /// How long a connection may move nothing.
    #[arg(long, value_name = "TIME", default_value = defaults::IDLE_TIMEOUT)]
    idle_timeout: String,

    /// Connect to upstreams with TCP Fast Open: one that has agreed to it gets header and payload
    /// with the first packet.
    #[arg(long)]
    fast_open: bool,

    /// With --source client, interfaces that upstreams answer by, besides IFACE: the pods', such
    /// as 'veth*', or the one towards the servers.
    #[arg(long, value_name = "IFACE", value_delimiter = ',')]
    upstream_interface: Vec<String>,

    /// What becomes of new connections while no Foreword runs: pass (they flow directly), or drop
    /// (they get no answer, until one runs again or `foreword cleanup` lifts it).
    #[arg(long, value_name = "WORD", default_value = defaults::WHEN_ABSENT)]
    when_absent: String,

    /// Worker threads [default: one for each CPU allowed].
    #[arg(long, value_name = "N")]
    workers: Option<String>,

    /// How long a stop waits for connections to end by themselves.
    #[arg(long, value_name = "TIME", default_value = defaults::DRAIN_TIMEOUT)]
    drain_timeout: String,

    /// Connections that may be open at once, a number or auto (as many as the limit of open files
    /// allows); more are reset.
    #[arg(long, value_name = "N|auto", default_value = defaults::MAX_CONNECTIONS)]
    max_connections: String,

    /// Connections of one client that may be open at once, by the address that upstreams are told;
    /// 0: any number.
    #[arg(long, value_name = "N", default_value = defaults::NO_LIMIT)]
    max_per_source: String,

    /// Memory that the buffers of all connections may take: a size such as 512MiB, auto (a quarter
    /// of what the cgroup or the machine has), or none (any amount).
    #[arg(long, value_name = "SIZE|auto|none", default_value = defaults::MEMORY)]
    max_memory: String,

    /// How many leading bits of an IPv6 address make one client, for --max-per-source and
    /// --syn-limit: 1 to 128.
    #[arg(long, value_name = "BITS", default_value = defaults::IPV6_PREFIX)]
    ipv6_prefix: String,

    /// The Unix socket of `foreword status` and the like: a path, or none.
    #[arg(long, value_name = "PATH|none", default_value = defaults::ADMIN_SOCKET)]
    admin_socket: String,

    /// Where metrics and probes are served over HTTP: 127.0.0.1:9478, or none.
    #[arg(long, value_name = "ADDRESS|none", default_value = defaults::ADMIN_HTTP)]
    admin_http: String,

    /// How to attach to TC: auto, tcx or clsact.
    #[arg(long, value_name = "HOOK", default_value = defaults::HOOK)]
    hook: String,

    /// Where the guard stands: native (XDP in the driver), generic (XDP in the kernel), tc, or
    /// auto (native on hardware that can, else tc).
    #[arg(long, value_name = "HOOK", default_value = defaults::HOOK)]
    guard_hook: String,

    /// By which interface replies leave: route (the routing table's answer), or arrival (the one
    /// that the connection came in by).
    #[arg(long, value_name = "WORD", default_value = defaults::REPLY)]
    reply: String,

    /// Take over from a Foreword that steers these interfaces, if there is one: new connections
    /// come here at once, and it ends when its own have ended, or its drain time is over.
    #[arg(long)]
    pub take_over: bool,

    /// How lines of the log are written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log: LogFormat,
}

/// What the one rule of a command line is called.
const RULE: &str = "attach";

impl Attach {
    /// The same as a file would say it. `guard` is the one flag with words that a file has not.
    pub fn into_config(self) -> Result<RawConfig, Invalid> {
        let guard = on_or_off(&self.guard)?;
        Ok(RawConfig {
            interfaces: words(self.interfaces),
            upstream_interfaces: words(self.upstream_interface),
            pod_interfaces: words(self.pod_interface),
            trusted_interfaces: words(self.trusted_interface),
            hook: self.hook.into(),
            guard_hook: self.guard_hook.into(),
            reply: self.reply.into(),
            workers: self.workers.map(Word::from),
            drain_timeout: self.drain_timeout.into(),
            limits: RawLimits {
                connections: self.max_connections.into(),
                per_source: self.max_per_source.into(),
                memory: self.max_memory.into(),
                ipv6_prefix: self.ipv6_prefix.into(),
            },
            admin: RawAdmin { socket: self.admin_socket.into(), http: self.admin_http.into() },
            rules: vec![RawRule {
                name: RULE.into(),
                ports: words(self.ports),
                destinations: words(self.destination),
                inbound: RawInbound {
                    mode: self.inbound.into(),
                    trusted: words(self.trust),
                    untrusted: self.untrusted.into(),
                    versions: words(self.versions),
                    timeout: self.header_timeout.into(),
                    max_header: self.max_header.into(),
                    server_first: self.server_first.into(),
                    reject_second: self.reject_second,
                },
                outbound: RawOutbound {
                    version: self.outbound.into(),
                    local: self.outbound_local.into(),
                    tlvs: RawTlvs {
                        pass: RawPass(words(self.tlv_pass)),
                        drop: words(self.tlv_drop),
                        add: self.tlv_add.iter().map(|word| RawAdded::from_flag(word)).collect(),
                        crc32c: self.tlv_crc32c,
                    },
                },
                upstream: RawUpstream {
                    address: self.upstream.into(),
                    resolve: self.resolve.into(),
                    source: self.source.into(),
                    source_addresses: words(self.source_address),
                    when_down: self.when_down.into(),
                    connect_timeout: self.connect_timeout.into(),
                    fast_open: self.fast_open,
                },
                idle_timeout: self.idle_timeout.into(),
                guard: RawGuard {
                    enabled: guard,
                    syn_per_second_per_source: self.syn_limit.into(),
                    answers: self.guard_answers.into(),
                },
                hairpin: RawHairpin { sources: words(self.hairpin) },
                when_absent: self.when_absent.into(),
            }],
        })
    }
}

fn words(texts: Vec<String>) -> Vec<Word> {
    texts.into_iter().map(Word::from).collect()
}

fn on_or_off(text: &str) -> Result<bool, Invalid> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(At::Flags.refuse(field::GUARD, &text.into(), "write on or off")),
    }
}
