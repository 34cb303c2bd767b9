//! How packets come to us, and leave.

use std::fmt;

use clap::ValueEnum;
use glob::Pattern;
use schemars::JsonSchema;

/// How packets come to us, and leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steering {
    /// Where load-balancer traffic arrives; at least one, each once.
    pub interfaces: Vec<InterfacePattern>,
    /// By which upstreams answer that see the clients' addresses, besides those above.
    pub upstream_interfaces: Vec<InterfacePattern>,
    /// Behind which the node's own pods are; empty: where the routing table says so.
    pub pod_interfaces: Vec<InterfacePattern>,
    /// By which trusted sources may come in, whatever the routing table says.
    pub trusted_interfaces: Vec<InterfacePattern>,
    /// How to attach to TC.
    pub hook: Hook,
    /// Where the guard runs.
    pub guard_hook: GuardHook,
    /// By which interface replies leave.
    pub reply: Reply,
}

impl Steering {
    /// All that are named, whatever for.
    pub fn named(&self) -> impl Iterator<Item = &InterfacePattern> {
        self.interfaces.iter().chain(&self.upstream_interfaces)
    }
}

/// A network interface's name, or a pattern of names with `*`, `?` and `[…]`: 1 to 15 bytes, no
/// slash, no white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfacePattern(Pattern);

impl InterfacePattern {
    pub(in crate::config) fn new(pattern: Pattern) -> Self {
        Self(pattern)
    }

    /// Whether it is for the interface of this name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }

    /// The name, if it is for one interface only.
    pub fn exact(&self) -> Option<&str> {
        let text = self.0.as_str();
        (!text.contains(['*', '?', '['])).then_some(text)
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How to attach to TC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Hook {
    /// tcx where the kernel has it, else clsact
    Auto,
    /// Linux 6.6 and newer: links that end with the process
    Tcx,
    /// A filter on the clsact qdisc, with any kernel
    Clsact,
}

/// Where the guard runs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum GuardHook {
    /// In the driver of hardware that can, unless there are VLANs on it; else in TC
    Auto,
    /// XDP, in the driver
    Native,
    /// XDP, in the kernel's generic code
    Generic,
    /// TC, together with steering
    Tc,
}

/// By which interface replies leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Reply {
    /// The one that the routing table names
    Route,
    /// The one that the connection came in by, to whoever sent its first packet; if that one's
    /// link-layer address changes, to the sender of the client's next segment
    Arrival,
}
