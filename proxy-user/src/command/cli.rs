//! The command line as it is written. Values stay words here; `config` judges them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::RawAttach;

/// A transparent proxy that checks and writes PROXY protocol headers, steered by eBPF.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Protect ports on interfaces, in the foreground, until a signal ends it.
    Attach(Box<Attach>),
    /// Remove what instances that were killed have left behind.
    Cleanup,
    /// Say what bytes are: a header, part by part, or what is wrong with them (exit code 1).
    Decode(Decode),
    /// Find out whether an upstream accepts PROXY headers, requires them or rejects them. Makes
    /// a handful of connections to it; needs no privileges.
    Probe(Probe),
}

/// One rule, from flags.
#[derive(Args, Debug)]
pub struct Attach {
    /// Interfaces that load-balancer traffic arrives on; 'eni*' for all of such a name, also those
    /// that come later.
    #[arg(value_name = "IFACE", required = true)]
    interfaces: Vec<String>,

    /// Ports to protect: 80,443 or 8000-8010.
    #[arg(long = "port", value_name = "PORT|A-B", required = true, value_delimiter = ',')]
    ports: Vec<String>,

    /// Whether trusted sources send a header: require, optional or off.
    #[arg(long, value_name = "MODE")]
    inbound: String,

    /// Address ranges whose headers are believed: the load balancers'.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    trust: Vec<String>,

    /// What happens to other sources: refuse, or direct (they are clients of their own).
    #[arg(long, value_name = "WORD", default_value = "refuse")]
    untrusted: String,

    /// Address ranges of this node's own pods, with their interfaces among IFACE: what they connect
    /// to comes back to the node, and they are clients of their own even with --inbound require.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    hairpin: Vec<String>,

    /// Drop the first packets of sources that would be refused, before there is a socket: on or
    /// off (they are accepted and closed).
    #[arg(long, value_name = "WORD", default_value = "on")]
    guard: String,

    /// Connections that one source may open in a second; 0: any number.
    #[arg(long, value_name = "N", default_value = "0")]
    syn_limit: String,

    /// Versions of the header that are allowed [default: v1,v2].
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    versions: Vec<String>,

    /// How long a header may take, 3s or more.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    header_timeout: String,

    /// Longest header, in bytes.
    #[arg(long, value_name = "BYTES", default_value = "4096")]
    max_header: String,

    /// With --inbound optional, a client that says nothing: wait for it until the header's
    /// deadline, or take it for one without a header after a time such as 200ms, so that a server
    /// that speaks first can. A header that comes later than that is payload.
    #[arg(long, value_name = "wait|TIME", default_value = "wait")]
    server_first: String,

    /// Refuse a connection in which a second header follows the first.
    #[arg(long)]
    reject_second: bool,

    /// The header written to the upstream: v1, v2 or none.
    #[arg(long, value_name = "VERSION")]
    outbound: String,

    /// TLVs of the inbound header that are passed on: all, none, or types such as 0xEA.
    #[arg(long, value_name = "TYPE", default_value = "all", value_delimiter = ',')]
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

    /// Where connections go: original (what the client aimed at), or host:port.
    #[arg(long, value_name = "ADDRESS", default_value = "original")]
    upstream: String,

    /// Whose address the upstream sees as its peer: node, or client. What it answers to a client
    /// must come by this node: from a server or pod of this node, or routed through it.
    #[arg(long, value_name = "WORD", default_value = "node")]
    source: String,

    /// With --source client, interfaces that upstreams answer by, besides IFACE: the pods', such
    /// as 'veth*', or the one towards the servers.
    #[arg(long, value_name = "IFACE", value_delimiter = ',')]
    upstream_interface: Vec<String>,

    /// What becomes of new connections while no Foreword runs: pass (they flow directly), or drop
    /// (they get no answer, until one runs again or `foreword cleanup` lifts it).
    #[arg(long, value_name = "WORD", default_value = "pass")]
    when_absent: String,

    /// Worker threads [default: one for each CPU allowed].
    #[arg(long, value_name = "N")]
    workers: Option<String>,

    /// How long a stop waits for connections to end by themselves.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    drain_timeout: String,

    /// How to attach to TC: auto, tcx or clsact.
    #[arg(long, value_name = "HOOK", default_value = "auto")]
    hook: String,

    /// Where the guard stands: native (XDP in the driver), generic (XDP in the kernel), tc, or
    /// auto (native on hardware that can, else tc).
    #[arg(long, value_name = "HOOK", default_value = "auto")]
    guard_hook: String,

    /// By which interface replies leave: route (the routing table's answer), or arrival (the one
    /// that the connection came in by).
    #[arg(long, value_name = "WORD", default_value = "route")]
    reply: String,

    /// Take over from a Foreword that steers these interfaces, if there is one: new connections
    /// come here at once, and it ends when its own have ended, or its drain time is over.
    #[arg(long)]
    take_over: bool,
}

/// Bytes, and how to look at them.
#[derive(Args, Debug)]
pub struct Decode {
    /// Bytes in hex, such as 0d0a, 0d:0a, 0x0d or \x0d; or - for raw bytes from standard input,
    /// which is also read if nothing is given.
    #[arg(value_name = "HEX|-", conflicts_with = "file")]
    pub bytes: Vec<String>,

    /// A file with raw bytes.
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,

    /// The file or standard input holds hex text.
    #[arg(long)]
    pub hex: bool,

    /// Longest header, in bytes; more than attach takes by default, so that all can be seen.
    #[arg(long, value_name = "BYTES", default_value = "65551")]
    pub max_header: String,

    /// Write JSON.
    #[arg(long)]
    pub json: bool,
}

/// An upstream, and what to say to it.
#[derive(Args, Debug)]
pub struct Probe {
    /// The upstream.
    #[arg(value_name = "HOST:PORT")]
    pub upstream: String,

    /// The header to send: v1, v2, or local (a v2 header without addresses, as a health check's).
    /// It states the connection's own addresses.
    #[arg(long, value_name = "HEADER", default_value = "v2")]
    pub send: String,

    /// Speak TLS: greet as a client does, with HOST as the server's name.
    #[arg(long, conflicts_with = "request")]
    pub tls: bool,

    /// How long to wait for a connection, and for each reply.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub timeout: String,

    /// A request that the upstream answers; \r, \n, \t, \0, \\ and \xNN stand for bytes
    /// [default: an HTTP GET, and the greeting of a server that speaks first].
    #[arg(long, value_name = "TEXT")]
    pub request: Option<String>,
}

impl From<Attach> for RawAttach {
    fn from(attach: Attach) -> Self {
        Self {
            interfaces: attach.interfaces,
            ports: attach.ports,
            inbound: attach.inbound,
            trust: attach.trust,
            untrusted: attach.untrusted,
            versions: attach.versions,
            hairpin: attach.hairpin,
            guard: attach.guard,
            syn_limit: attach.syn_limit,
            header_timeout: attach.header_timeout,
            max_header: attach.max_header,
            server_first: attach.server_first,
            reject_second: attach.reject_second,
            outbound: attach.outbound,
            tlv_pass: attach.tlv_pass,
            tlv_drop: attach.tlv_drop,
            tlv_add: attach.tlv_add,
            tlv_crc32c: attach.tlv_crc32c,
            upstream: attach.upstream,
            source: attach.source,
            upstream_interfaces: attach.upstream_interface,
            when_absent: attach.when_absent,
            workers: attach.workers,
            drain_timeout: attach.drain_timeout,
            hook: attach.hook,
            guard_hook: attach.guard_hook,
            reply: attach.reply,
            take_over: attach.take_over,
        }
    }
}
