//! What is recorded of single connections.

use super::Address;

/// Key of `foreword_paths` and `foreword_podsyn`: a connection, as the node sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FourTuple {
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
pub struct ArrivalPath {
    /// The interface.
    pub ifindex: u32,
    /// The link-layer addresses of its opening packet: destination, then source.
    pub link: [u8; 12],
}

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
    /// Smoothed round-trip time at the last change of state, in microseconds.
    pub srtt_us: u64,
}

layout! {
    FourTuple: 2 * 16 + 2 * 4,
    ArrivalPath: 4 + 2 * 6,
    ConnKey: 8,
    Conn: 2 * 16 + 4 * 4 + 2 * 8,
}
