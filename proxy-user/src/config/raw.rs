//! The options of a configuration as they are written, before anything is validated: in a file, or as
//! the flags of `foreword attach`, which amount to a file with one rule.
//!
//! Each option is defined here and nowhere else: its key and its flag, what it is for, its form and its
//! default. The comment on a field is the flag's help, the description in the JSON Schema and the text in
//! `docs/configuration.md`, so it must suit all three. Its first paragraph is what `-h` shows.
#![allow(clippy::doc_markdown, reason = "these comments are read without a formatter, as help")]

use std::sync::LazyLock;

use clap::{Args, Command};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod choice;
mod rule;
mod tlvs;

pub use self::choice::{OnOff, choice};
pub use self::rule::{
    OutboundHeader, RawGuard, RawHairpin, RawInbound, RawOutbound, RawRule, RawUpstream,
};
pub use self::tlvs::{RawAdded, RawTlvs};
use super::settings::{GuardHook, Hook, Reply};
use super::value::RawValue;

/// Defaults that the rest of the program needs, too.
pub mod defaults {
    /// `admin.socket`.
    pub const ADMIN_SOCKET: &str = "/run/foreword/admin.sock";
}

/// Foreword's configuration.
#[derive(Args, Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[command(next_help_heading = "Interfaces")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(title = "Foreword", inline, extend("required" = ["interfaces", "rules"]))]
pub struct RawConfig {
    /// Interfaces that load-balancer traffic arrives on: names, alternative names, or patterns such as
    /// 'eni*'.
    ///
    /// With a pattern, interfaces that appear later are attached to as well. An interface that goes is
    /// reported, and one that is renamed stays attached to.
    #[arg(value_name = "IFACE", required = true, help_heading = None::<&'static str>)]
    pub interfaces: Vec<RawValue>,

    /// Where upstreams see the client (source client): interfaces that their answers arrive on, besides
    /// those of load-balancer traffic.
    ///
    /// These are the pods' interfaces, such as 'veth*', or the one that leads to the servers.
    #[arg(long = "upstream-interface", value_name = "IFACE", value_delimiter = ',')]
    pub upstream_interfaces: Vec<RawValue>,

    /// With hairpin ranges: interfaces that this node's own pods are behind [default: those by which
    /// the routing table reaches a pod without a gateway, and that no default route uses].
    #[arg(long = "pod-interface", value_name = "IFACE", value_delimiter = ',')]
    pub pod_interfaces: Vec<RawValue>,

    /// With reply arrival: interfaces that trusted sources may come in by, whatever the routing table
    /// says.
    ///
    /// Trusted sources that come in by any other interface are dropped unless the routing table reaches
    /// them by that interface (counted as source-interface).
    #[arg(long = "trusted-interface", value_name = "IFACE", value_delimiter = ',')]
    pub trusted_interfaces: Vec<RawValue>,

    /// How to attach to TC.
    #[arg(long, value_name = "HOOK", value_parser = choice::<Hook>(), default_value = "auto")]
    #[schemars(with = "Hook")]
    pub hook: RawValue,

    /// Where the guard runs.
    ///
    /// Some drivers restart their queues when an XDP program comes or goes. With tc they don't, at the
    /// cost of a packet's way through the driver.
    #[arg(long, value_name = "HOOK", value_parser = choice::<GuardHook>(), default_value = "auto")]
    #[schemars(with = "GuardHook")]
    pub guard_hook: RawValue,

    /// By which interface replies leave.
    #[arg(long, value_name = "ROUTE", value_parser = choice::<Reply>(), default_value = "route")]
    #[schemars(with = "Reply")]
    pub reply: RawValue,

    /// Worker threads [default: one for each CPU that the process may use].
    #[arg(long, value_name = "N", help_heading = "Process")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<RawValue>,

    /// How long a stop waits for open connections to end.
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = "Process")]
    pub drain_timeout: RawValue,

    /// How many connections there may be, and how much memory they may take.
    #[command(flatten)]
    pub limits: RawLimits,

    /// Where commands, metrics and probes reach the process.
    #[command(flatten)]
    pub admin: RawAdmin,

    /// What is done with the connections to some ports.
    #[arg(skip)]
    pub rules: Vec<RawRule>,
}

/// How many connections there may be, and how much memory they may take.
#[derive(Args, Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[command(next_help_heading = "Limits")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RawLimits {
    /// Connections that may be open at once, in the whole process: a number, or auto (as many as the
    /// limit of open files allows). More are reset.
    #[arg(long = "max-connections", value_name = "N|auto", default_value = "auto")]
    pub connections: RawValue,

    /// Connections of one client that may be open at once, by the address that upstreams are told; 0:
    /// any number.
    #[arg(long = "max-per-source", value_name = "N", default_value = "0")]
    pub per_source: RawValue,

    /// Memory that the buffers of all connections may take: a size such as 512MiB, auto (a quarter of
    /// what the cgroup or the machine has), or none (any amount).
    #[arg(long = "max-memory", value_name = "SIZE|auto|none", default_value = "auto")]
    pub memory: RawValue,

    /// How many leading bits of an IPv6 address make one client, 1 to 128, for limits per client or
    /// source. IPv4 clients are told apart by their whole address.
    #[arg(long, value_name = "BITS", default_value = "64")]
    pub ipv6_prefix: RawValue,
}

/// Where commands, metrics and probes reach the process.
#[derive(Args, Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[command(next_help_heading = "Process")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RawAdmin {
    /// The Unix socket of `foreword status` and the like, for root and the user that runs Foreword: an
    /// absolute path, or none.
    #[arg(long = "admin-socket", value_name = "PATH|none", default_value = defaults::ADMIN_SOCKET)]
    pub socket: RawValue,

    /// Where metrics and probes are served over HTTP: an address with a port, such as 127.0.0.1:9478,
    /// or none.
    #[arg(long = "admin-http", value_name = "ADDRESS|none", default_value = "none")]
    pub http: RawValue,
}

/// A section's defaults are those of its flags.
macro_rules! default_to_flags {
    ($($section:ty),+ $(,)?) => {
        $(impl Default for $section {
            fn default() -> Self {
                static DEFAULT: LazyLock<$section> = LazyLock::new(without_flags);
                DEFAULT.clone()
            }
        })+
    };
}

default_to_flags! {
    RawConfig, RawLimits, RawAdmin, RawRule, RawInbound, RawOutbound, RawTlvs, RawUpstream, RawGuard,
    RawHairpin,
}

/// What a command line without any flag amounts to.
fn without_flags<T: Args>() -> T {
    // For an update, no flag is required.
    let command = T::augment_args_for_update(Command::new("defaults"));
    let matches = command.try_get_matches_from(["defaults"]).expect("nothing is required");
    T::from_arg_matches(&matches).expect("each option has a default, or may be left out")
}
