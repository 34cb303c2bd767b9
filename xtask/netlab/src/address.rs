//! Every address of the lab, by role and by family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A load balancer: the client namespace's first address, the one to trust.
pub const LB_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);
/// The client namespace's second address, on the same interface, the one not to trust.
pub const STRANGER_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 3);
/// The node's address on `eth0`, towards the client.
pub const NODE_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
/// The node's address on `eth1`, towards the backend.
pub const NODE_BACK_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
/// The backend.
pub const BACKEND_V4: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 2);
/// Served by the backend, routed by the node, on no interface of the node.
pub const VIP_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// [`LB_V4`] of IPv6.
pub const LB_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 2);
/// [`STRANGER_V4`] of IPv6.
pub const STRANGER_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 3);
/// [`NODE_V4`] of IPv6.
pub const NODE_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 1);
/// [`NODE_BACK_V4`] of IPv6.
pub const NODE_BACK_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 1);
/// [`BACKEND_V4`] of IPv6.
pub const BACKEND_V6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 2);
/// [`VIP_V4`] of IPv6.
pub const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfdcb, 0, 0, 0, 0, 0, 0, 0x10);

/// Which of the two Internet protocols something is done over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both of them, for loops.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn pick(self, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
        match self {
            Self::V4 => v4.into(),
            Self::V6 => v6.into(),
        }
    }

    /// The load balancer, to be trusted.
    pub fn lb(self) -> IpAddr {
        self.pick(LB_V4, LB_V6)
    }

    /// The client that is not to be trusted.
    pub fn stranger(self) -> IpAddr {
        self.pick(STRANGER_V4, STRANGER_V6)
    }

    /// The node as the client knows it.
    pub fn node(self) -> IpAddr {
        self.pick(NODE_V4, NODE_V6)
    }

    /// The node as the backend knows it: where our upstream connections come from.
    pub fn node_back(self) -> IpAddr {
        self.pick(NODE_BACK_V4, NODE_BACK_V6)
    }

    /// The backend's own address.
    pub fn backend(self) -> IpAddr {
        self.pick(BACKEND_V4, BACKEND_V6)
    }

    /// The virtual address that the backend serves behind the node.
    pub fn vip(self) -> IpAddr {
        self.pick(VIP_V4, VIP_V6)
    }

    /// `127.0.0.1` or `::1`.
    pub fn loopback(self) -> IpAddr {
        self.pick(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)
    }

    /// Length of the prefix of the two links: /24 or /64.
    pub fn link_prefix(self) -> u8 {
        if self == Self::V4 { 24 } else { 64 }
    }

    /// Length of the prefix of a single address: /32 or /128.
    pub fn host_prefix(self) -> u8 {
        if self == Self::V4 { 32 } else { 128 }
    }

    /// `-4` or `-6`, as `ip` takes it.
    pub fn ip_option(self) -> &'static str {
        if self == Self::V4 { "-4" } else { "-6" }
    }
}
