//! The options of a rule.

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choice::{OnOff, choice};
use super::tlvs::RawTlvs;
use crate::config::settings::{LocalAs, Mode, Source, Untrusted, WhenAbsent, WhenDown};
use crate::config::value::RawValue;

/// What is done with the connections to some ports.
#[derive(Args, Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[command(next_help_heading = "Rule")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("required" = ["name", "ports", "inbound", "outbound"]))]
pub struct RawRule {
    /// The rule's name in messages, metrics and reports: up to 63 letters, digits, or any of - _ .
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub name: Option<RawValue>,

    /// Ports to protect, and ranges of ports such as 8000-8010.
    #[arg(long = "port", value_name = "PORT|A-B", required = true, value_delimiter = ',')]
    pub ports: Vec<RawValue>,

    /// Address ranges that clients connect to [default: any].
    ///
    /// Rules may share a port if they differ in this. The narrowest range that fits decides, and a rule
    /// without ranges is for the rest. If there is no such rule, connections to other destinations are
    /// left alone.
    #[arg(long = "destination", value_name = "CIDR", value_delimiter = ',')]
    pub destinations: Vec<RawValue>,

    /// How long a connection may be idle, with no byte moving in either direction.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub idle_timeout: RawValue,

    /// What happens to new connections while no Foreword runs.
    #[arg(long, value_name = "ACTION", value_parser = choice::<WhenAbsent>(), default_value = "pass")]
    #[schemars(with = "WhenAbsent")]
    pub when_absent: RawValue,

    /// What is expected of whoever connects.
    #[command(flatten)]
    pub inbound: RawInbound,

    /// The node's own pods, whose interfaces are among those of load-balancer traffic.
    #[command(flatten)]
    pub hairpin: RawHairpin,

    /// What the upstream is told.
    #[command(flatten)]
    pub outbound: RawOutbound,

    /// Where connections go.
    #[command(flatten)]
    pub upstream: RawUpstream,

    /// What is dropped before there is a connection.
    #[command(flatten)]
    pub guard: RawGuard,
}

/// What is expected of whoever connects.
#[derive(Args, Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[command(next_help_heading = "Inbound header")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("required" = ["mode"]))]
pub struct RawInbound {
    /// Whether trusted sources send a header.
    #[arg(long = "inbound", value_name = "MODE", value_parser = choice::<Mode>(), required = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Mode")]
    pub mode: Option<RawValue>,

    /// Address ranges whose headers are believed: the load balancers'.
    ///
    /// Name the load balancers' own addresses or subnets and nothing wider: whoever has an address in
    /// there is believed. To believe everybody, write 0.0.0.0/0 and ::/0.
    #[arg(long = "trust", value_name = "CIDR", value_delimiter = ',')]
    pub trusted: Vec<RawValue>,

    /// What happens to sources that are not trusted. What they say in a header is never believed.
    #[arg(long, value_name = "ACTION", value_parser = choice::<Untrusted>(), default_value = "refuse")]
    #[schemars(with = "Untrusted")]
    pub untrusted: RawValue,

    /// Versions of the header that are accepted [default: v1,v2].
    #[arg(long, value_name = "VERSION", value_delimiter = ',')]
    pub versions: Vec<RawValue>,

    /// How long a header may take, 3s or more.
    ///
    /// A connection whose header is not complete by then is closed.
    #[arg(long = "header-timeout", value_name = "TIME", default_value = "5s")]
    pub timeout: RawValue,

    /// Longest header in bytes, 16 to 65551.
    #[arg(long, value_name = "BYTES", default_value = "4096")]
    pub max_header: RawValue,

    /// Where a header is optional: wait, or the time, such as 200ms, after which a client that says
    /// nothing is taken for one without a header.
    ///
    /// With wait, such a client is closed when its time for a header is over. With a time, a server
    /// that speaks first can greet it, as SMTP, MySQL and SSH do. That has a price: the upstream is
    /// told that the peer is the client before a header that was only late could say otherwise, and
    /// such a header is payload then (of a source that is not trusted, it is refused). Choose a time
    /// well above the load balancer's delay, and only where the server really speaks first.
    #[arg(long, value_name = "wait|TIME", default_value = "wait")]
    pub server_first: RawValue,

    /// Refuse a connection in which a second header follows the first.
    ///
    /// An AWS NLB, for one, does not strip a header that its client sent.
    #[arg(long)]
    pub reject_second: bool,
}

/// The node's own pods, whose interfaces are among those of load-balancer traffic.
#[derive(Args, Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[command(next_help_heading = "Inbound header")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RawHairpin {
    /// Address ranges of this node's own pods, which connect to the node's addresses without a header:
    /// they are clients of their own, even where a header is required.
    ///
    /// The pods' interfaces must be among those of load-balancer traffic.
    #[arg(long = "hairpin", value_name = "CIDR", value_delimiter = ',')]
    pub sources: Vec<RawValue>,
}

/// Which header an upstream gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum OutboundHeader {
    /// A line of text with the client and the destination
    V1,
    /// A binary header with the client, the destination and TLVs
    V2,
    /// No header, only the payload
    None,
}

/// What the upstream is told.
#[derive(Args, Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[command(next_help_heading = "Outbound header")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("required" = ["version"]))]
pub struct RawOutbound {
    /// The header that the upstream gets.
    #[arg(
        long = "outbound",
        value_name = "VERSION",
        value_parser = choice::<OutboundHeader>(),
        required = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OutboundHeader")]
    pub version: Option<RawValue>,

    /// How the upstream is told of a load balancer's own connection (LOCAL), such as a health check.
    #[arg(
        long = "outbound-local",
        value_name = "FORM",
        value_parser = choice::<LocalAs>(),
        default_value = "as-is"
    )]
    #[schemars(with = "LocalAs")]
    pub local: RawValue,

    /// What becomes of TLVs, in v2.
    #[command(flatten)]
    pub tlvs: RawTlvs,
}

/// Where connections go.
#[derive(Args, Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[command(next_help_heading = "Upstream")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RawUpstream {
    /// Where connections go: original (what the client aimed at), or host:port.
    ///
    /// An IPv6 address is written in brackets, and a link-local one with its interface:
    /// `[fe80::1%eth0]:8080`.
    #[arg(long = "upstream", value_name = "original|HOST:PORT", default_value = "original")]
    pub address: RawValue,

    /// When the upstream's name is looked up again: once (only when the configuration is read), or
    /// so long after the last time, 1s or more.
    #[arg(long, value_name = "once|TIME", default_value = "30s")]
    pub resolve: RawValue,

    /// Whose address the upstream sees as its peer.
    ///
    /// With client, what the upstream answers must come by this node: from a server or pod on it, or
    /// routed through it.
    #[arg(long, value_name = "WHOSE", value_parser = choice::<Source>(), default_value = "node")]
    #[schemars(with = "Source")]
    pub source: RawValue,

    /// Addresses of this node that connections to the upstream are made from, in turn, up to 16
    /// [default: what the kernel chooses].
    ///
    /// Each has local ports of its own.
    #[arg(long = "source-address", value_name = "ADDRESS", value_delimiter = ',')]
    pub source_addresses: Vec<RawValue>,

    /// What happens to new connections while none of the upstream's addresses can be reached.
    #[arg(long, value_name = "ACTION", value_parser = choice::<WhenDown>(), default_value = "refuse")]
    #[schemars(with = "WhenDown")]
    pub when_down: RawValue,

    /// How long an upstream may take to accept a connection.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub connect_timeout: RawValue,

    /// Connect with TCP Fast Open: an upstream that has agreed to it gets the header and the first
    /// payload with the first packet.
    ///
    /// It is not used where a name has several addresses, since the same bytes could then reach two
    /// servers.
    #[arg(long)]
    pub fast_open: bool,
}

/// What is dropped before there is a connection.
#[derive(Args, Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[command(next_help_heading = "Guard")]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RawGuard {
    /// Whether the first packets of sources that the rule refuses are dropped and counted, before there
    /// is a socket. Without the guard, such connections are accepted and closed.
    #[arg(
        long = "guard",
        value_name = "on|off",
        value_parser = BoolishValueParser::new(),
        action = ArgAction::Set,
        default_value = "on",
        hide_possible_values = true
    )]
    pub enabled: bool,

    /// Connections that one source may open per second; 0: any number.
    #[arg(long = "syn-limit", value_name = "N", default_value = "0")]
    pub syn_per_second_per_source: RawValue,

    /// Whether SYN-ACKs that steering did not make are dropped, counted and logged where a header is
    /// required or sources are refused.
    ///
    /// Such a SYN-ACK leaves by an interface of load-balancer traffic and answers a connection that got
    /// past steering. This has to be off where clients come in by other interfaces, too.
    #[arg(
        long = "guard-answers",
        value_name = "on|off",
        value_parser = choice::<OnOff>(),
        default_value = "on",
        hide_possible_values = true
    )]
    #[schemars(with = "OnOff")]
    pub answers: RawValue,
}
