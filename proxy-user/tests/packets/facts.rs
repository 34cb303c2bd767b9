//! What the model knows about the node under test: its rules, interfaces and sockets.
//!
//! Foreword's configuration is written from the same rules, so that the model and the product
//! always work with the same ones.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

/// Addresses and ports of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FourTuple {
    pub source: IpAddr,
    pub source_port: u16,
    pub destination: IpAddr,
    pub destination_port: u16,
}

impl FourTuple {
    /// The four-tuple of the answer.
    pub fn reversed(self) -> Self {
        Self {
            source: self.destination,
            source_port: self.destination_port,
            destination: self.source,
            destination_port: self.source_port,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Require,
    Optional,
    Off,
}

/// A rule, as a user would state it.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a user has as many yes-or-no choices")]
pub struct Rule {
    pub port: u16,
    /// Empty: any destination.
    pub destinations: Vec<IpNet>,
    pub mode: Mode,
    pub trusted: Vec<IpNet>,
    /// Whether other sources are refused.
    pub refuses: bool,
    /// Whether they are refused by their initial SYN.
    pub is_guarded: bool,
    /// Connections that a source may open in a second.
    pub limit: Option<u32>,
    /// Whether its port stays closed while no process steers it.
    pub is_held: bool,
    /// Whether it is removed before the packets come.
    pub is_retired: bool,
}

impl Rule {
    /// A rule that restricts nothing.
    pub const fn open(port: u16) -> Self {
        Self {
            port,
            destinations: Vec::new(),
            mode: Mode::Off,
            trusted: Vec::new(),
            refuses: false,
            is_guarded: true,
            limit: None,
            is_held: false,
            is_retired: false,
        }
    }

    /// Whether the rule restricts who may connect, so that unreadable packets are dropped.
    pub fn restricts(&self) -> bool {
        !self.is_retired
            && (self.mode == Mode::Require || self.refuses_some() || self.limit.is_some())
    }

    /// Whether a server's direct answer to a client would bypass the rule.
    pub fn guards_answers(&self) -> bool {
        !self.is_retired && (self.mode == Mode::Require || self.refuses_some())
    }

    /// Whether the guard drops a SYN of this source because the source is not trusted.
    pub fn refuses_source(&self, source: IpAddr) -> bool {
        let is_trusted = self.trusted.iter().any(|range| range.contains(&source));
        self.is_guarded && self.refuses_some() && !is_trusted
    }

    fn refuses_some(&self) -> bool {
        self.refuses && !self.trusted.is_empty()
    }

    fn yaml(&self, number: usize) -> String {
        let list = |ranges: &[IpNet]| {
            let ranges: Vec<_> = ranges.iter().map(|range| format!("\"{range}\"")).collect();
            ranges.join(", ")
        };
        let mode = match self.mode {
            Mode::Require => "require",
            Mode::Optional => "optional",
            Mode::Off => "\"off\"",
        };
        let untrusted = if self.refuses { "refuse" } else { "direct" };
        let (port, limit) = (self.port, self.limit.unwrap_or(0));
        let mut yaml = format!("  - name: rule{number}\n    ports: [{port}]\n");
        if !self.destinations.is_empty() {
            let _ = writeln!(yaml, "    destinations: [{}]", list(&self.destinations));
        }
        let _ = writeln!(
            yaml,
            "    inbound: {{ mode: {mode}, trusted: [{}], untrusted: {untrusted} }}\n    \
             outbound: {{ version: none }}\n    \
             guard: {{ enabled: {}, synPerSecondPerSource: {limit} }}\n    whenAbsent: {}",
            list(&self.trusted),
            self.is_guarded,
            if self.is_held { "drop" } else { "pass" },
        );
        yaml
    }
}

/// How Foreword is configured on a node.
#[derive(Clone, Debug)]
pub struct Setup {
    pub name: &'static str,
    pub interfaces: &'static [&'static str],
    pub hook: &'static str,
    pub guard_hook: &'static str,
    pub reply: &'static str,
    pub rules: Vec<Rule>,
}

impl Setup {
    /// The whole configuration, with or without the rules that are to be retired.
    pub fn yaml(&self, with_retired: bool) -> String {
        let Self { interfaces, hook, guard_hook, reply, rules, .. } = self;
        let mut yaml = format!(
            "interfaces: [{}]\nhook: {hook}\nguardHook: {guard_hook}\nreply: {reply}\n\
             admin: {{ socket: none }}\nrules:\n",
            interfaces.join(", ")
        );
        for (number, rule) in rules.iter().enumerate() {
            if with_retired || !rule.is_retired {
                yaml.push_str(&rule.yaml(number));
            }
        }
        yaml
    }

    /// Whether the guard stands in XDP.
    pub fn has_xdp(&self) -> bool {
        matches!(self.guard_hook, "native" | "generic")
    }
}

/// A node with Foreword running on it.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    pub setup: Setup,
    /// Index of the protected interface.
    pub index: u32,
    /// Index of the other interface.
    pub other_index: u32,
    /// Link-layer address of the protected interface.
    pub link_address: [u8; 6],
    /// Foreword's mark for its own packets; 0 if it sets none.
    pub own_mark: u32,
    /// The private namespace's connections, as their incoming packets have them.
    pub flows: HashSet<FourTuple>,
    /// The node's own sockets in `SYN_SENT`, as the SYNs that they sent have them.
    pub waiting: HashSet<FourTuple>,
    /// SYN cookies that the private namespace has sent: who has to acknowledge what.
    pub cookies: HashSet<(FourTuple, u32)>,
    /// Sources that are over the limit of a port's rule.
    pub exhausted: HashSet<(u16, IpAddr)>,
}

impl NodeFacts {
    /// The rule for packets to this port of this address.
    pub fn rule_of(&self, port: u16, destination: IpAddr) -> Option<&Rule> {
        // An IPv4-mapped address in an IPv6 header counts as the IPv4 address.
        let destination = destination.to_canonical();
        let of_port = self.setup.rules.iter().filter(|rule| rule.port == port);
        let width = |rule: &Rule| {
            let fits = |range: &&IpNet| range.contains(&destination);
            let narrowest = rule.destinations.iter().filter(fits).map(IpNet::prefix_len).max();
            if rule.destinations.is_empty() { Some(0) } else { narrowest.map(|bits| bits + 1) }
        };
        of_port
            .filter_map(|rule| Some((width(rule)?, rule)))
            .max_by_key(|(width, _)| *width)
            .map(|it| it.1)
    }

    /// Whether any rule is for the port, for whatever destination.
    pub fn has_port(&self, port: u16) -> bool {
        self.setup.rules.iter().any(|rule| rule.port == port)
    }

    /// Whether some rule restricts who may connect.
    pub fn restricts(&self) -> bool {
        self.setup.rules.iter().any(Rule::restricts)
    }

    pub fn is_held(&self, port: u16) -> bool {
        self.setup.rules.iter().any(|rule| rule.port == port && rule.is_held && !rule.is_retired)
    }

    pub fn holds(&self) -> bool {
        self.setup.rules.iter().any(|rule| self.is_held(rule.port))
    }
}
