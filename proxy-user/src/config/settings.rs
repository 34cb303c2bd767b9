//! Validated settings: what their comments say of the fields has been checked.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use schemars::JsonSchema;

use crate::address::{AdminAddr, Cidr, Ipv6Prefix, OriginalDst, some};
use crate::header::{
    EncodeError, Endpoints, Limits, ONE_SEGMENT, Origin, Outgoing, TlvPolicy, Version,
};

mod steering;
mod upstream;

pub use self::steering::{GuardHook, Hook, InterfacePattern, Reply, Steering};
pub use self::upstream::{
    Resolve, Source, Unfit, Upstream, UpstreamAddress, UpstreamName, WhenDown,
};

/// Everything that a run needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How packets come to us, and leave.
    pub steering: Steering,
    /// Whether to take over from another Foreword on the same interfaces, if there is one.
    pub take_over: bool,
    /// Worker threads; `None`: one for each CPU that the process may use.
    pub workers: Option<NonZeroUsize>,
    /// How long a stop waits for connections to end by themselves.
    pub drain_timeout: Duration,
    /// How many connections there may be.
    pub limits: ConnectionLimits,
    /// Where commands, metrics and probes reach the process.
    pub admin: Admin,
    /// At least one, each with a name of its own; no two with the same port and destinations.
    pub rules: Vec<Rule>,
}

impl Settings {
    /// The names of upstreams that are to be looked up.
    pub fn upstream_names(&self) -> BTreeSet<UpstreamName> {
        self.rules.iter().filter_map(Rule::upstream_name).cloned().collect()
    }
}

/// How many connections there may be at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In the whole process; `None`: as many as open files allow.
    pub connections: Option<NonZeroU32>,
    /// Of one client; `None`: any number.
    pub per_source: Option<NonZeroU32>,
    /// How much memory their buffers may take.
    pub memory: MemoryLimit,
    /// Which IPv6 addresses are one client, here and where the guard counts first packets.
    pub ipv6_prefix: Ipv6Prefix,
}

/// The name under which counters of removed rules are added up. No rule may have it.
pub const FORMER: &str = "former";

/// How much memory the buffers of all connections may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryLimit {
    /// A quarter of what this process has a share in.
    #[default]
    Quarter,
    /// Any amount.
    Any,
    /// So many bytes.
    Bytes(NonZeroU64),
}

/// Where commands, metrics and probes reach the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The Unix socket: an absolute path that fits into a socket's address with a suffix.
    pub socket: Option<PathBuf>,
    /// Where metrics and probes are served.
    pub http: Option<AdminAddr>,
}

/// What happens to the connections of some ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called.
    pub name: String,
    /// The ports that it is for.
    pub ports: Ports,
    /// The addresses that clients connect to; empty: any.
    pub destinations: Vec<Cidr>,
    /// What is expected of whoever connects.
    pub inbound: Inbound,
    /// What the upstream is told.
    pub outbound: Outbound,
    /// Where the connection goes.
    pub upstream: Upstream,
    /// How long a connection may move nothing before it is closed.
    pub idle_timeout: Duration,
    /// What is dropped before there is a connection.
    pub guard: Guard,
    /// What happens to new connections while no process is there.
    pub when_absent: WhenAbsent,
}

impl Rule {
    /// How specific the rule is for connections to this address and port: the length of its narrowest
    /// matching prefix, `Some(None)` if it takes any address, `None` if it doesn't match.
    pub fn narrowness(&self, destination: OriginalDst) -> Option<Option<u8>> {
        let address = destination.get().ip();
        if !self.ports.contains(destination.get().port()) {
            return None;
        }
        if self.destinations.is_empty() {
            return Some(None);
        }
        let fitting = self.destinations.iter().filter(|range| range.contains(address));
        fitting.map(|range| Some(range.prefix_length())).max()
    }

    /// Whether any source may connect.
    pub fn admits_anybody(&self) -> bool {
        self.inbound.untrusted == Untrusted::Direct || self.inbound.trusted.is_empty()
    }

    /// Whether any first packet can be turned away.
    pub fn is_guarded(&self) -> bool {
        self.only_sources().is_some() || self.guard.syn_limit.is_some()
    }

    /// Whether a connection that gets past it does harm: not everybody may connect, or not without a
    /// header.
    pub fn restricts(&self) -> bool {
        self.inbound.mode == Mode::Require
            || !self.admits_anybody()
            || self.guard.syn_limit.is_some()
    }

    /// Whether SYN-ACKs that steering did not make are dropped.
    pub fn guards_answers(&self) -> bool {
        self.guard.answers && (self.inbound.mode == Mode::Require || !self.admits_anybody())
    }

    /// Whether they are dropped, or would be once the rule requires headers, which can change at run
    /// time.
    pub fn may_guard_answers(&self) -> bool {
        self.guards_answers() || (self.guard.answers && self.inbound.mode == Mode::Optional)
    }

    /// Whether its upstream sees clients' addresses.
    pub fn shows_clients(&self) -> bool {
        self.upstream.source == Source::Client
    }

    /// The name of its upstream, if it has one that is to be looked up.
    pub fn upstream_name(&self) -> Option<&UpstreamName> {
        match &self.upstream.address {
            UpstreamAddress::Named(name) => Some(name),
            UpstreamAddress::Original | UpstreamAddress::Fixed(_) => None,
        }
    }

    /// The only ranges that may open connections, besides the node's own pods, as [`crate::policy`] has
    /// it too; `None`: anybody may.
    pub fn only_sources(&self) -> Option<impl Iterator<Item = Cidr> + '_> {
        (self.guard.enabled && !self.admits_anybody()).then(|| self.inbound.trusted.iter().copied())
    }
}

/// What is dropped before there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Whether sources that the rule refuses are dropped, rather than accepted and closed.
    pub enabled: bool,
    /// Connections that one source may open in a second.
    pub syn_limit: Option<NonZeroU32>,
    /// Whether the host's own answers to clients are dropped, where the rule restricts who may connect.
    pub answers: bool,
}

/// What happens to new connections while no process is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum WhenAbsent {
    /// They flow directly, as if there had never been one
    Pass,
    /// They get no answer until one runs again, or `foreword cleanup` lifts it
    Drop,
}

/// A set of ports, none of them 0, sorted and without overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    pub(super) const fn new(ranges: Vec<RangeInclusive<u16>>) -> Self {
        Self(ranges)
    }

    /// Whether the port is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// Each port of the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().cloned().flatten()
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Most ranges that are named one by one.
        const NAMED: usize = 16;
        let word = |range: &RangeInclusive<u16>| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let words: Vec<_> = self.0.iter().map(word).collect();
        f.write_str(&some(&words, NAMED))
    }
}

/// What is expected of whoever connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Whether trusted sources send a header.
    pub mode: Mode,
    /// Whose header is believed; not empty unless `mode` is [`Mode::Off`].
    pub trusted: Vec<Cidr>,
    /// This node's own pods, whose connections come back to the node: clients of their own,
    /// whatever else is said of them.
    pub hairpin: Vec<Cidr>,
    /// What happens to everybody else.
    pub untrusted: Untrusted,
    /// What a header may be.
    pub limits: Limits,
    /// By when it must be complete, from the accept on.
    pub timeout: Duration,
    /// What happens to a client that says nothing where a header is optional.
    pub server_first: ServerFirst,
    /// Whether a second header behind the first is refused.
    pub reject_second: bool,
}

/// What happens to a client that says nothing, where its first bytes are to show whether it sends
/// a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFirst {
    /// It is waited for until the header's deadline, and closed then.
    Wait,
    /// It is taken for one without a header after this time, so that the server can greet it. A
    /// header that comes later is payload, or refused if its source is not trusted.
    After(Duration),
}

/// Whether trusted sources send a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Mode {
    /// They do: a connection without one is closed, and no upstream is opened for it
    Require,
    /// They may: without one, the peer is the client
    Optional,
    /// They don't: all bytes are payload, and the peer is the client
    Off,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Require => "require",
            Self::Optional => "optional",
            Self::Off => "off",
        })
    }
}

/// What happens to a source that is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum Untrusted {
    /// They are turned away
    Refuse,
    /// They are clients of their own, turned away only if their bytes begin with a header's signature
    Direct,
}

/// What the upstream is told before the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// The header's version; `None`: no header.
    pub version: Option<Version>,
    /// What becomes of TLVs, in v2.
    pub tlvs: TlvPolicy,
    /// Whether each connection gets a unique id of ours, in v2.
    pub unique_id: bool,
    /// What a load balancer's own connection is told as.
    pub local: LocalAs,
}

impl Outbound {
    /// A header up to this length comes in one segment, in bytes.
    pub const ONE_SEGMENT: usize = ONE_SEGMENT;

    /// Length of a unique id of ours.
    pub const UNIQUE_ID: usize = 32;

    /// The longest that its header can be with none of the inbound TLVs, in bytes.
    pub fn own_length(&self) -> Result<usize, EncodeError> {
        const NAME: &[u8] = &[0; Outbound::UNIQUE_ID];
        let Some(version) = self.version else { return Ok(0) };
        let longest = SocketAddr::from((Ipv6Addr::from_bits(u128::MAX), u16::MAX));
        let header = Outgoing {
            policy: &self.tlvs,
            unique_id: self.unique_id.then_some(NAME),
            ..Outgoing::plain(version, Origin::Proxied(Endpoints::new(longest, longest)))
        };
        let mut written = Vec::new();
        header.append_to(&mut written)?;
        Ok(written.len())
    }
}

/// What a load balancer's own connection (LOCAL), such as a health check, is told as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub enum LocalAs {
    /// LOCAL; in v1, which has no word for it, the connection's own addresses
    AsIs,
    /// PROXY, with this node as the client, for receivers that refuse LOCAL
    Proxy,
}
