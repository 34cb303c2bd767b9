//! Layout of map keys and values.
//!
//! Each type is `repr(C)`, consists of integers and arrays of integers only, and has no padding, so
//! that every byte is defined on both sides of the system call. Sizes are asserted at compile time.
//! Ports and counters are in the host's byte order, addresses in the network's.

/// Asserts the size of each type, and lets aya copy it to and from map entries.
macro_rules! layout {
    ($($type:ty: $size:expr),+ $(,)?) => {$(
        const _: () = assert!(size_of::<$type>() == $size);

        #[cfg(feature = "user")]
        #[allow(unsafe_code, reason = "Pod is an unsafe trait; its conditions are met here")]
        // SAFETY: `repr(C)`, integers only, no padding: every bit pattern is a value, and every
        // byte of a value is defined.
        unsafe impl aya::Pod for $type {}
    )+};
}

mod connections;
mod counters;
mod node;
mod rules;

pub use self::connections::{ArrivalPath, Conn, ConnKey, FourTuple, ROLE_INBOUND, ROLE_UPSTREAM};
pub use self::counters::{
    Bypass, LOG_CONNECTIONS, LOG_DROPS, LOG_KINDS, LogQuota, REASON_NAME_LEN, ReasonCount, Stats,
};
pub use self::node::{
    INTERFACE_PODS, INTERFACE_PODS_BY_ROUTE, INTERFACE_TRUSTED, INTERFACE_XDP, Interface,
    InterfaceKey, LISTENER_V4, LISTENER_V6, NODE_ANSWERS, NODE_L3_DEVICES, NODE_REPLY_BY_ARRIVAL,
    Node,
};
pub use self::rules::{
    DestinationKey, Down, DownKey, Hold, MAX_OWNERS, PORT_WORDS, PortKey, RULE_ANSWERS,
    RULE_BY_DESTINATION, RULE_CHECK_ARRIVAL, RULE_PODS, RULE_REFUSES_DOWN, RULE_RESTRICTS,
    RULE_RETIRED, RULE_TRUSTED_ONLY, Rate, RateKey, Rule, SCOPE_BITS, TrustKey, network, port_bit,
    scope,
};

/// Version of this layout, for whoever looks at `foreword_node`. Foreword itself does not read a
/// pinned map whose entries have another size.
pub const ABI_VERSION: u32 = 6;

/// An IPv6 address, or an IPv4 one in its mapped form (`::ffff:a.b.c.d`); network byte order.
pub type Address = [u8; 16];
