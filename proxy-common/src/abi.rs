//! Layout of map keys and values.
//!
//! Each type is `repr(C)`, made of integers and arrays of them only, and has no padding, so that
//! every byte is defined on both sides of the system call. Sizes are asserted at compile time.
//! Ports and counters are in the host's byte order, addresses in the network's.

mod stats;

pub use self::stats::Stats;

/// Version of this layout. Pinned maps of another version are not read.
pub const ABI_VERSION: u32 = 6;

/// An IPv6 address, or an IPv4 one in its mapped form (`::ffff:a.b.c.d`); network byte order.
pub type Address = [u8; 16];

/// Index of the IPv4 listener in `foreword_listen`.
pub const LISTENER_V4: u32 = 0;
/// Index of the IPv6 listener in `foreword_listen`.
pub const LISTENER_V6: u32 = 1;

/// Key of `foreword_rules`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortKey {
    /// The destination port, in the host's byte order.
    pub port: u16,
}

/// Entries of `foreword_ports`, of 64 ports each. The bit of port 0 says that some rule restricts
/// ([`RULE_RESTRICTS`]), so that a packet of which not even the port can be read is dropped.
pub const PORT_WORDS: usize = (1 << 16) / 64;

/// Where a port's bit is in `foreword_ports`: which entry, and which bit of it.
#[inline]
pub const fn port_bit(port: u16) -> (u32, u64) {
    (port as u32 / 64, 1 << (port % 64))
}

/// Value of `foreword_rules`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule's number: no two that are in the maps at once have the same. 0: none.
    pub rule: u32,
    /// Any of the constants that begin with `RULE_`.
    pub flags: u32,
    /// Connections that one source may open in a second; 0: any number.
    pub syn_limit: u32,
    /// How many leading bits of an IPv6 address make a source, as far as `syn_limit` counts: 1 to
    /// 128.
    pub ipv6_prefix: u32,
    /// Of a port with [`RULE_BY_DESTINATION`]: the number of its table in `foreword_dests`, counted
    /// as rules are.
    pub destinations: u32,
    /// The number of its upstream, [`DownKey::upstream`]; 0: what the client aims at.
    pub upstream: u32,
}

/// [`Rule::flags`]: the rule requires headers, refuses sources or limits them, so a packet that
/// can't be read is dropped rather than passed.
pub const RULE_RESTRICTS: u32 = 1;
/// [`Rule::flags`]: only a source in `foreword_trust` may open a connection.
pub const RULE_TRUSTED_ONLY: u32 = 2;

/// [`Rule::flags`]: there is no such rule any more. Connections that are there go on; new ones are
/// left alone.
pub const RULE_RETIRED: u32 = 4;

/// [`Rule::flags`]: the port has rules by destination in `foreword_dests`; this one is for all others.
pub const RULE_BY_DESTINATION: u32 = 8;

/// [`Rule::flags`]: a SYN-ACK from the rule's ports that steering did not make is dropped.
pub const RULE_ANSWERS: u32 = 16;

/// [`Rule::flags`]: a trusted source has to come in by the interface that it is reached by.
pub const RULE_CHECK_ARRIVAL: u32 = 32;

/// [`Rule::flags`]: the node's own pods, which are in `foreword_pods`, may open connections.
pub const RULE_PODS: u32 = 64;

/// [`Rule::flags`]: while its upstream is in `foreword_down`, first packets are answered with a reset.
pub const RULE_REFUSES_DOWN: u32 = 128;

/// What a key of `foreword_dests`, a trie of address ranges, is matched by: as many bits of it as
/// the key's prefix length says, [`SCOPE_BITS`] of them for the scope.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationKey {
    /// Whose range it is: [`scope`] of [`Rule::destinations`].
    pub scope: [u8; 4],
    /// The destination.
    pub destination: Address,
}

/// What a key of `foreword_trust` and `foreword_pods`, tries of address ranges, is matched by: as many bits of it as
/// the key's prefix length says, [`SCOPE_BITS`] of them for the scope.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustKey {
    /// Whose range it is: [`scope`] of the rule.
    pub scope: [u8; 4],
    /// The source.
    pub source: Address,
}

/// Bits of a key before its address.
pub const SCOPE_BITS: u32 = 32;

/// Whether it is an IPv4 address.
#[inline]
fn is_mapped(address: &Address) -> bool {
    address[..10] == [0; 10] && address[10..12] == [0xff; 2]
}

/// Whose range it is, and of which family: a range of IPv6 is never one of mapped IPv4 addresses.
#[inline]
pub fn scope(owner: u32, address: Address) -> [u8; 4] {
    (owner << 1 | u32::from(is_mapped(&address))).to_be_bytes()
}

/// Owners of a [`scope`] are below this.
pub const MOST_OWNERS: u32 = 1 << 31;

/// The first address of an address's network, whose prefix is so many bits long. An IPv4 address
/// is a network of its own.
#[inline]
pub fn network(address: Address, ipv6_prefix: u32) -> Address {
    if is_mapped(&address) {
        return address;
    }
    // In halves, since BPF has no registers for more, and a shift of both calls a function.
    let (high, low) = (leading(ipv6_prefix), leading(ipv6_prefix.saturating_sub(64)));
    let mask = u128::from(high) << 64 | u128::from(low);
    (u128::from_be_bytes(address) & mask).to_be_bytes()
}

/// So many leading ones.
#[inline]
const fn leading(bits: u32) -> u64 {
    match bits {
        0 => 0,
        1..64 => u64::MAX << (64 - bits),
        _ => u64::MAX,
    }
}

/// Key of `foreword_rates`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateKey {
    /// The source: the [`network`] of an address.
    pub source: Address,
    /// [`Rule::rule`].
    pub rule: u32,
}

/// Value of `foreword_rates`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// When the source's account is even again: nanoseconds of `CLOCK_MONOTONIC`.
    pub even_at_ns: u64,
}

/// Key of `foreword_nics`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicKey {
    /// The interface's index.
    pub ifindex: u32,
}

/// Value of `foreword_nics`: a protected interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Any of the constants that begin with `NIC_`.
    pub flags: u32,
}

/// [`Nic::flags`]: the XDP guard is on the interface, and judges plain frames.
pub const NIC_XDP: u32 = 1;
/// [`Nic::flags`]: trusted sources may come in by it, whatever the routing table says.
pub const NIC_TRUSTED: u32 = 2;
/// [`Nic::flags`]: pods are behind it.
pub const NIC_PODS: u32 = 4;
/// [`Nic::flags`]: pods are behind it, if the routing table reaches them there without a gateway.
pub const NIC_PODS_BY_ROUTE: u32 = 8;

/// The one value of `foreword_node`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// [`ABI_VERSION`] of the writer.
    pub abi: u32,
    /// Index of the veth's host end.
    pub veth: u32,
    /// Id of the private namespace, as the host's namespace sees it.
    pub private_ns: u32,
    /// Packets with this mark are our own on their way to an upstream; 0: there is no such mark.
    pub own_mark: u32,
    /// Any of the constants that begin with `NODE_`.
    pub flags: u32,
    /// The link-layer address of the veth's inner end, and two zeros.
    pub inner: [u8; 8],
}

/// [`Node::flags`]: replies leave by the interface that the connection came in by.
pub const NODE_REPLY_BY_ARRIVAL: u32 = 1;
/// [`Node::flags`]: some upstreams see, and answer, the clients themselves.
pub const NODE_ANSWERS: u32 = 2;
/// [`Node::flags`]: some interface's packets have no Ethernet header, as a tunnel's.
pub const NODE_BARE: u32 = 4;

/// Key of `foreword_down`: an upstream that can't be reached, as [`Rule::upstream`] has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DownKey {
    /// Its number; 0: an address that clients aim at.
    pub upstream: u32,
    /// The port that they aim at; 0 unless `upstream` is.
    pub port: u32,
    /// The address that they aim at; zeros unless `upstream` is 0.
    pub address: Address,
}

/// Value of `foreword_down`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Down {
    /// When a first packet to it was last refused: nanoseconds of `CLOCK_MONOTONIC`; 0: none was.
    pub aimed_at_ns: u64,
}

/// Key of `foreword_paths` and `foreword_podsyn`: a connection, as the node sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathKey {
    /// The client or load balancer.
    pub remote: Address,
    /// The original destination.
    pub local: Address,
    /// Port of `remote`.
    pub remote_port: u32,
    /// Port of `local`.
    pub local_port: u32,
}

/// Value of `foreword_paths`: how a connection came in, for its replies.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The interface.
    pub ifindex: u32,
    /// The link-layer address that it was sent to, then the one that it was sent from.
    pub link: [u8; 12],
}

/// The one value of `foreword_bypass`: the last SYN-ACK that was dropped because steering did not
/// make it, which tells whom the host's own stack has answered.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bypass {
    /// Where it was going.
    pub client: Address,
    /// Where it came from: what the client had connected to.
    pub local: Address,
    /// Port of `client`.
    pub client_port: u32,
    /// Port of `local`.
    pub local_port: u32,
    /// Index of the interface that it was leaving by.
    pub left_by: u32,
    /// Index of the interface that it had come in by; 0: it is this host's own.
    pub came_by: u32,
}

/// Value of `foreword_held`, by port: a port that stays closed while nobody steers it. Port 0 stands
/// for packets of which not even the port can be read, and is there while any other is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// First packets that were dropped.
    pub dropped: u64,
}

/// Value of `foreword_said`, one per CPU: how much was written to the log of late.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The second that `lines` is of, by `CLOCK_MONOTONIC`.
    pub second: u64,
    /// Lines written in that second.
    pub lines: u64,
    /// Lines left out since the last one was written.
    pub left_out: u64,
}

/// Index in `foreword_said` of lines about dropped packets.
pub const SAID_DROPS: u32 = 0;
/// Index in `foreword_said` of lines about connections that are steered or left alone.
pub const SAID_CONNECTIONS: u32 = 1;
/// Entries of `foreword_said`.
pub const SAID_KINDS: usize = 2;

/// [`Conn::role`] of a connection that a client or load balancer opened to us.
pub const ROLE_INBOUND: u32 = 1;
/// [`Conn::role`] of a connection that we opened to an upstream.
pub const ROLE_UPSTREAM: u32 = 2;

/// Key of `foreword_conns`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnKey {
    /// The kernel's socket cookie (`bpf_get_socket_cookie`, `SO_COOKIE`).
    pub cookie: u64,
}

/// Value of `foreword_conns`: one TCP socket of ours.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conn {
    /// The other end: client or load balancer (inbound), or the upstream.
    pub remote: Address,
    /// Our end: the original destination (inbound), or the address that we connected from.
    pub local: Address,
    /// Port of `remote`.
    pub remote_port: u32,
    /// Port of `local`.
    pub local_port: u32,
    /// [`ROLE_INBOUND`] or [`ROLE_UPSTREAM`].
    pub role: u32,
    /// TCP state, as in the kernel's `include/net/tcp_states.h`.
    pub state: u32,
    /// When it was established: nanoseconds of `CLOCK_MONOTONIC`.
    pub since_ns: u64,
    /// Smoothed round-trip time when last noted, in microseconds.
    pub srtt_us: u64,
}

/// Longest reason name in [`ReasonCount`], with the zero behind it.
pub const REASON_NAME_LEN: usize = 32;

/// Value of `foreword_reason`, by the reason's number. Written by userspace once a second.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// The reason's name in ASCII, zero-filled, so that a dump needs no other file to be read;
    /// `bpftool` prints it as numbers, since it is no C string.
    pub name: [u8; REASON_NAME_LEN],
    /// Connections that ended this way.
    pub connections: u64,
    /// Packets that were dropped for it before there was a connection.
    pub packets: u64,
}

macro_rules! assert_layout {
    ($($type:ty: $size:expr),+ $(,)?) => {
        $(const _: () = assert!(size_of::<$type>() == $size);)+
    };
}

assert_layout! {
    PortKey: 2,
    Rule: 6 * 4,
    DestinationKey: 4 + 16,
    TrustKey: 4 + 16,
    RateKey: 16 + 4,
    Rate: 8,
    NicKey: 4,
    Nic: 4,
    Node: 5 * 4 + 8,
    DownKey: 2 * 4 + 16,
    Down: 8,
    PathKey: 2 * 16 + 2 * 4,
    Path: 4 + 2 * 6,
    Bypass: 2 * 16 + 4 * 4,
    Hold: 8,
    Said: 3 * 8,
    Stats: 15 * 8,
    ConnKey: 8,
    Conn: 2 * 16 + 4 * 4 + 2 * 8,
    ReasonCount: 32 + 2 * 8,
}

/// Lets aya copy these types to and from map entries.
#[cfg(feature = "user")]
#[allow(unsafe_code, reason = "Pod is an unsafe trait; what it asks for is this module's purpose")]
mod pod {
    use super::{
        Bypass, Conn, ConnKey, DestinationKey, Down, DownKey, Hold, Nic, NicKey, Node, Path,
        PathKey, PortKey, Rate, RateKey, ReasonCount, Rule, Stats, TrustKey,
    };

    macro_rules! pod {
        ($($type:ty),+) => {
            // SAFETY: `repr(C)`, integers only, no padding: every bit pattern is a value, and
            // every byte of a value is defined.
            $(unsafe impl aya::Pod for $type {})+
        };
    }

    pod!(
        Bypass,
        PortKey,
        Rule,
        DestinationKey,
        DownKey,
        Down,
        TrustKey,
        RateKey,
        Rate,
        NicKey,
        Nic,
        Node,
        PathKey,
        Path,
        Hold,
        Stats,
        ConnKey,
        Conn,
        ReasonCount
    );
}
