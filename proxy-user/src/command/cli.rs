//! The command line as it is written. Values stay words here; `config` judges them.

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
}

/// One rule, from flags.
#[derive(Args, Debug)]
pub struct Attach {
    /// Interfaces that load-balancer traffic arrives on.
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

    /// The header written to the upstream: v1, v2 or none.
    #[arg(long, value_name = "VERSION")]
    outbound: String,

    /// Where connections go: original (what the client aimed at), or host:port.
    #[arg(long, value_name = "ADDRESS", default_value = "original")]
    upstream: String,

    /// Worker threads [default: one for each CPU allowed].
    #[arg(long, value_name = "N")]
    workers: Option<String>,

    /// How long a stop waits for connections to end by themselves.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    drain_timeout: String,

    /// How to attach to TC: auto, tcx or clsact.
    #[arg(long, value_name = "HOOK", default_value = "auto")]
    hook: String,
}

impl From<Attach> for RawAttach {
    fn from(attach: Attach) -> Self {
        Self {
            interfaces: attach.interfaces,
            ports: attach.ports,
            inbound: attach.inbound,
            trust: attach.trust,
            untrusted: attach.untrusted,
            outbound: attach.outbound,
            upstream: attach.upstream,
            workers: attach.workers,
            drain_timeout: attach.drain_timeout,
            hook: attach.hook,
        }
    }
}
