//! What the rules say: per port, destination, source and upstream.

use super::Address;

/// Key of maps by port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortKey {
    /// The port, in the host's byte order.
    pub port: u16,
}

/// Entries of `foreword_ports`, of 64 ports each. The bit of port 0 says that some rule restricts
/// who may connect ([`RULE_RESTRICTS`]), so that a packet whose port can't be read is dropped.
pub const PORT_WORDS: usize = (1 << 16) / 64;

/// Where a port's bit is in `foreword_ports`: the entry's index, and the bit in it.
#[inline]
pub const fn port_bit(port: u16) -> (u32, u64) {
    (port as u32 / 64, 1 << (port % 64))
}

/// Value of `foreword_rules` and `foreword_dests`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule's number, unique among the rules that are in the maps at once; 0: none.
    pub rule: u32,
    /// Any of the constants that begin with `RULE_`.
    pub flags: u32,
    /// Connections that one source may open per second; 0: any number.
    pub syn_limit: u32,
    /// For `syn_limit`, the prefix length by which IPv6 addresses count as one source: 1 to 128.
    pub ipv6_prefix: u32,
    /// For a port with [`RULE_BY_DESTINATION`], the number of its table in `foreword_dests`; it
    /// shares its range with the rules' numbers.
    pub destinations: u32,
    /// The number of its upstream, as in [`DownKey::upstream`]; 0: the original destination.
    pub upstream: u32,
}

/// [`Rule::flags`]: the rule requires headers, refuses sources or limits them, so a packet that
/// can't be read is dropped rather than passed.
pub const RULE_RESTRICTS: u32 = 1;
/// [`Rule::flags`]: only a source in `foreword_trust` may open a connection.
pub const RULE_TRUSTED_ONLY: u32 = 2;
/// [`Rule::flags`]: the rule has been removed. Its open connections are steered on; new ones are
/// left alone.
pub const RULE_RETIRED: u32 = 4;
/// [`Rule::flags`]: the port has rules by destination in `foreword_dests`; this one is for all
/// other destinations.
pub const RULE_BY_DESTINATION: u32 = 8;
/// [`Rule::flags`]: a SYN-ACK from the rule's ports is dropped unless a steered connection sent it.
pub const RULE_ANSWERS: u32 = 16;
/// [`Rule::flags`]: a trusted source has to come in by the interface that the routing table reaches
/// it by.
pub const RULE_CHECK_ARRIVAL: u32 = 32;
/// [`Rule::flags`]: the node's own pods, which are in `foreword_pods`, may open connections.
pub const RULE_PODS: u32 = 64;
/// [`Rule::flags`]: while its upstream is in `foreword_down`, new connections are reset.
pub const RULE_REFUSES_DOWN: u32 = 128;

/// What a key of `foreword_dests`, a trie of address ranges, is matched by: its first bits, as many
/// as the key's prefix length says, of which [`SCOPE_BITS`] are the scope.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationKey {
    /// Which table the range is in: [`scope`] of [`Rule::destinations`].
    pub scope: [u8; 4],
    /// The destination.
    pub destination: Address,
}

/// What a key of `foreword_trust` and `foreword_pods`, tries of address ranges, is matched by: its
/// first bits, as many as the key's prefix length says, of which [`SCOPE_BITS`] are the scope.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustKey {
    /// Which rule's range it is: [`scope`] of [`Rule::rule`].
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

/// The owner of a range, and its family: a range of IPv6 must not match mapped IPv4 addresses.
#[inline]
pub fn scope(owner: u32, address: Address) -> [u8; 4] {
    (owner << 1 | u32::from(is_mapped(&address))).to_be_bytes()
}

/// Owners of a [`scope`] are below this.
pub const MAX_OWNERS: u32 = 1 << 31;

/// The first address of an address's network with this prefix length. An IPv4 address is a network
/// of its own.
#[inline]
pub fn network(address: Address, ipv6_prefix: u32) -> Address {
    if is_mapped(&address) {
        return address;
    }
    // In halves, since BPF has no registers for more, and shifting both would call a function.
    let (high, low) = (leading(ipv6_prefix), leading(ipv6_prefix.saturating_sub(64)));
    let mask = u128::from(high) << 64 | u128::from(low);
    (u128::from_be_bytes(address) & mask).to_be_bytes()
}

/// A number with this many leading ones.
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

/// Value of `foreword_rates`: the state of the generic cell rate algorithm.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// When the source's next connection is due at the allowed rate: nanoseconds of
    /// `CLOCK_MONOTONIC`.
    pub theoretical_arrival_ns: u64,
}

/// Key of `foreword_down`: an upstream that can't be reached, as [`Rule::upstream`] has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DownKey {
    /// Its number; 0: an original destination.
    pub upstream: u32,
    /// The original destination's port; 0 unless `upstream` is.
    pub port: u32,
    /// The original destination's address; zeros unless `upstream` is 0.
    pub address: Address,
}

/// Value of `foreword_down`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Down {
    /// When a connection to it was last refused: nanoseconds of `CLOCK_MONOTONIC`; 0: never.
    pub last_refused_ns: u64,
}

/// Value of `foreword_held`: a port that stays closed while no process steers it. Port 0 stands for
/// packets whose port can't be read, and is in the map if any other port is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Packets that were dropped.
    pub dropped: u64,
}

layout! {
    PortKey: 2,
    Rule: 6 * 4,
    DestinationKey: 4 + 16,
    TrustKey: 4 + 16,
    RateKey: 16 + 4,
    Rate: 8,
    DownKey: 2 * 4 + 16,
    Down: 8,
    Hold: 8,
}
