//! The command line. Values stay text here, and `config` validates them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::config::raw::defaults;
use crate::logging;

mod attach;

pub use self::attach::Attach;

/// A transparent proxy that checks and writes PROXY protocol headers, steered by eBPF.
#[derive(Debug, Parser)]
#[command(name = "foreword", version, arg_required_else_help = true)]
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
    /// Say whether what runs is healthy: it answers, and all of its workers come round. For probes:
    /// exit code 1 and the reason if it is not, nothing if it is.
    Health(Health),
    /// List the connections that are open.
    Connections(Connections),
    /// Say whether all load balancers send headers, and have a rule require them when they do. Exit
    /// code 1: not all do.
    Cutover(Cutover),
    /// Print the configuration file for what kgateway's listener and backend policies ask for, with
    /// a comment on each field that has no counterpart.
    Import(Import),
    /// Remove what instances that were killed have left behind.
    Cleanup,
    /// Say what bytes are: a header, part by part, or what is wrong with them (exit code 1).
    Decode(Decode),
    /// Say whether this node is fit for Foreword, and what to fix; changes nothing. Exit code 1
    /// if Foreword would not work, as it is started here; 0 otherwise, also with warnings.
    Doctor(Doctor),
    /// Generate what is shipped beside the binary: shell completions, man pages, and the reference of
    /// all options.
    #[command(subcommand, hide = true)]
    Generate(Generate),
    /// Find out whether an upstream accepts PROXY headers, requires them or rejects them. Makes
    /// a handful of connections to it; needs no privileges.
    Probe(Probe),
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

impl From<LogFormat> for logging::Format {
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

    /// When another Foreword has taken over, and the last connection has ended, wait for a signal
    /// instead of exiting: for Kubernetes, which would start it again, against its successor.
    #[arg(long)]
    pub stay: bool,
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

/// Where to ask, and for what.
#[derive(Args, Debug)]
pub struct Health {
    #[command(flatten)]
    pub admin: Admin,

    /// Also whether new connections are taken, by it or by its successor.
    #[arg(long)]
    pub ready: bool,
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

/// Documents, and what they can't know.
#[derive(Args, Debug)]
pub struct Import {
    /// Files with Kubernetes objects, in YAML or JSON; or - for standard input, which is also read
    /// if nothing is given.
    #[arg(value_name = "FILE|-")]
    pub files: Vec<PathBuf>,

    /// Interfaces that load-balancer traffic arrives on.
    #[arg(long, value_name = "IFACE", value_delimiter = ',')]
    pub interface: Vec<String>,

    /// Ports of the rule whose ports no document says; RULE=443 if there are several such rules.
    #[arg(long, value_name = "[RULE=]PORT|A-B", value_delimiter = ',')]
    pub port: Vec<String>,

    /// Address ranges whose headers are believed: the load balancers'.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub trust: Vec<String>,
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

/// What to generate.
#[derive(Debug, Subcommand)]
pub enum Generate {
    /// Print the completion script of a shell.
    Completions {
        /// The shell.
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Write a man page for each command into a folder.
    Man {
        /// The folder, which is made if it isn't there.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Print docs/configuration.md.
    Reference,
}

/// Where to look.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Interfaces that load-balancer traffic arrives on, or patterns such as 'eni*' [default: all
    /// that are up and have Ethernet's framing].
    #[arg(value_name = "IFACE")]
    pub interfaces: Vec<String>,

    /// A configuration file: look at its interfaces, and whether the node will do what its rules
    /// ask.
    #[arg(long, value_name = "PATH", conflicts_with = "interfaces")]
    pub config: Option<PathBuf>,

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
