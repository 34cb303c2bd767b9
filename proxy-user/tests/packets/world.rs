//! What is known of the node under test besides the packet: its rules, its interfaces, its sockets.
//!
//! The configuration that Foreword is started with is written from the same rules, so that the model
//! and the product can't be told different things.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;

/// Two ends, as a packet has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    pub source: IpAddr,
    pub source_port: u16,
    pub destination: IpAddr,
    pub destination_port: u16,
}

impl Tuple {
    /// The answer's.
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

/// A rule, as a user thinks of it.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "as many as a user can say yes or no to")]
pub struct Rule {
    pub port: u16,
    /// Any, if there is none.
    pub destinations: Vec<IpNet>,
    pub mode: Mode,
    pub trusted: Vec<IpNet>,
    /// Whether other sources are refused.
    pub refuses: bool,
    /// Whether they are refused by their first packet.
    pub is_guarded: bool,
    /// Connections that a source may open in a second.
    pub limit: Option<u32>,
    /// Whether its port stays closed while nobody steers it.
    pub is_held: bool,
    /// Whether it is taken away before the packets come.
    pub is_retired: bool,
}

impl Rule {
    /// One that restricts nothing.
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

    /// Whether some first packets are to be kept from the server, so that what can't be read is
    /// dropped.
    pub fn restricts(&self) -> bool {
        !self.is_retired
            && (self.mode == Mode::Require || self.refuses_some() || self.limit.is_some())
    }

    /// Whether a server's own answer to a client would be a way past the rule.
    pub fn guards_answers(&self) -> bool {
        !self.is_retired && (self.mode == Mode::Require || self.refuses_some())
    }

    /// Whether the guard drops a first packet of this source for not being trusted.
    pub fn turns_away(&self, source: IpAddr) -> bool {
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

/// How a node is set up.
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

/// A node that runs.
#[derive(Clone, Debug)]
pub struct World {
    pub setup: Setup,
    /// The protected interface's.
    pub index: u32,
    /// The other interface's.
    pub other_index: u32,
    /// The protected interface's.
    pub link_address: [u8; 6],
    /// What Foreword marks its own packets with; 0 if it does not.
    pub own_mark: u32,
    /// The private namespace's sockets, by what comes to them.
    pub flows: HashSet<Tuple>,
    /// Sockets in `SYN_SENT` of the node's own, by what they sent.
    pub waiting: HashSet<Tuple>,
    /// Acknowledgements of SYN cookies that the private namespace has sent: who, and of what.
    pub cookies: HashSet<(Tuple, u32)>,
    /// Sources that have opened as many connections as rules with a limit allow, by port.
    pub exhausted: HashSet<(u16, IpAddr)>,
}

impl World {
    /// The rule for packets to this port of this address.
    pub fn rule_of(&self, port: u16, destination: IpAddr) -> Option<&Rule> {
        // An IPv4 address in an IPv6 header is that address, to rules and to upstreams.
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

    /// Whether anything is at the port, be it for other destinations.
    pub fn has_port(&self, port: u16) -> bool {
        self.setup.rules.iter().any(|rule| rule.port == port)
    }

    /// Whether some rule restricts.
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
