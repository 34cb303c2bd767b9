//! The command line as it is written. Values stay words here; `config` judges them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::field::{self, At};
use crate::config::raw::{
    RawAdded, RawAdmin, RawGuard, RawHairpin, RawInbound, RawLimits, RawOutbound, RawPass, RawRule,
    RawTlvs, RawUpstream, defaults,
};
use crate::config::word::Word;
use crate::config::{Invalid, RawConfig};
use crate::operate::logs;

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
    /// Protect what a configuration file says, in the foreground: take over from a Foreword that
    /// runs on these interfaces, and follow the file when it changes.
    Run(Run),
    /// Say whether a configuration file is valid, and what each of its rules will do.
    Check(Check),
    /// Print the JSON Schema of configuration files.
    Schema,
    /// Have a running Foreword read its configuration file again, and say what has changed.
    Reload(Reload),
    /// Say what runs and how it stands: rules, interfaces, counters, and why connections were
    /// refused. Exit code 1: nothing takes new connections.
    Status(Status),
    /// List the connections that are open.
    Connections(Connections),
    /// Say whether all load balancers send headers, and have a rule require them when they do. Exit
    /// code 1: not all do.
    Cutover(Cutover),
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

    /// Drop the first packets of sources that would be refused, before there is a socket: on or
    /// off (they are accepted and closed).
    #[arg(long, value_name = "WORD", default_value = "on")]
    guard: String,

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

    /// Where connections go: original (what the client aimed at), or host:port.
    #[arg(long, value_name = "ADDRESS", default_value = defaults::UPSTREAM)]
    upstream: String,

    /// Whose address the upstream sees as its peer: node, or client. What it answers to a client
    /// must come by this node: from a server or pod of this node, or routed through it.
    #[arg(long, value_name = "WORD", default_value = defaults::SOURCE)]
    source: String,

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

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line, for programs.
    Json,
}

impl From<LogFormat> for logs::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// Where the configuration is.
#[derive(Args, Debug)]
pub struct Run {
    /// The configuration file.
    #[arg(short, long, value_name = "PATH")]
    pub config: PathBuf,

    /// How lines of the log are written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log: LogFormat,
}

/// Where the configuration is.
#[derive(Args, Debug)]
pub struct Check {
    /// The configuration file.
    #[arg(value_name = "PATH")]
    pub config: PathBuf,
}

/// Where to ask.
#[derive(Args, Debug)]
pub struct Admin {
    /// The admin socket of what runs.
    #[arg(long, value_name = "PATH", default_value = defaults::ADMIN_SOCKET)]
    pub socket: PathBuf,
}

/// Where to ask.
#[derive(Args, Debug)]
pub struct Reload {
    #[command(flatten)]
    pub admin: Admin,
}

/// Where to ask, and how to show it.
#[derive(Args, Debug)]
pub struct Status {
    #[command(flatten)]
    pub admin: Admin,

    /// Write JSON.
    #[arg(long, conflicts_with = "watch")]
    pub json: bool,

    /// Go on showing it, with rates.
    #[arg(long)]
    pub watch: bool,
}

/// Which connections, and how to show them.
#[derive(Args, Debug)]
pub struct Connections {
    #[command(flatten)]
    pub admin: Admin,

    /// Only this rule's.
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,

    /// Only those of clients in this range.
    #[arg(long, value_name = "CIDR")]
    pub client: Option<String>,

    /// Only those to this port.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,

    /// Only those that are open for so long: 10m.
    #[arg(long, value_name = "TIME")]
    pub older: Option<String>,

    /// Write JSON.
    #[arg(long)]
    pub json: bool,
}

/// Which rule, and what to do with it.
#[derive(Args, Debug)]
pub struct Cutover {
    /// The rule; all, if none is named.
    #[arg(value_name = "RULE")]
    pub rule: Option<String>,

    #[command(flatten)]
    pub admin: Admin,

    /// For how long no trusted source may have connected without a header.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub quiet: String,

    /// Have the rule require headers from now on, if it is ready. Open connections go on.
    #[arg(long)]
    pub tighten: bool,

    /// Tighten it even if some would be refused.
    #[arg(long, requires = "tighten")]
    pub force: bool,

    /// Write JSON.
    #[arg(long, conflicts_with = "tighten")]
    pub json: bool,
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

/// What the one rule of a command line is called.
const RULE: &str = "attach";

impl Attach {
    /// The same as a file would say it. `guard` is the one flag with words that a file has not.
    pub fn into_config(self) -> Result<RawConfig, Invalid> {
        let guard = on_or_off(&self.guard)?;
        Ok(RawConfig {
            interfaces: words(self.interfaces),
            upstream_interfaces: words(self.upstream_interface),
            hook: self.hook.into(),
            guard_hook: self.guard_hook.into(),
            reply: self.reply.into(),
            workers: self.workers.map(Word::from),
            drain_timeout: self.drain_timeout.into(),
            limits: RawLimits {
                connections: self.max_connections.into(),
                per_source: self.max_per_source.into(),
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
                    tlvs: RawTlvs {
                        pass: RawPass(words(self.tlv_pass)),
                        drop: words(self.tlv_drop),
                        add: self.tlv_add.iter().map(|word| RawAdded::from_flag(word)).collect(),
                        crc32c: self.tlv_crc32c,
                    },
                },
                upstream: RawUpstream {
                    address: self.upstream.into(),
                    source: self.source.into(),
                    connect_timeout: self.connect_timeout.into(),
                    fast_open: self.fast_open,
                },
                idle_timeout: self.idle_timeout.into(),
                guard: RawGuard {
                    enabled: guard,
                    syn_per_second_per_source: self.syn_limit.into(),
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
