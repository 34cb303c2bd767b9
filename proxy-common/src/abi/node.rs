//! What the programs know of the node and its interfaces.

/// Index of the IPv4 listener in `foreword_listen`.
pub const LISTENER_V4: u32 = 0;
/// Index of the IPv6 listener in `foreword_listen`.
pub const LISTENER_V6: u32 = 1;

/// Key of `foreword_nics`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceKey {
    /// The interface's index.
    pub ifindex: u32,
}

/// Value of `foreword_nics`: a protected interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Any of the constants that begin with `INTERFACE_`.
    pub flags: u32,
}

/// [`Interface::flags`]: the guard is attached to its XDP hook, and checks plain frames there.
pub const INTERFACE_XDP: u32 = 1;
/// [`Interface::flags`]: trusted sources may come in by it, whatever the routing table says.
pub const INTERFACE_TRUSTED: u32 = 2;
/// [`Interface::flags`]: pods are behind it.
pub const INTERFACE_PODS: u32 = 4;
/// [`Interface::flags`]: pods are behind it, as far as the routing table reaches them there without
/// a gateway.
pub const INTERFACE_PODS_BY_ROUTE: u32 = 8;

/// The one value of `foreword_node`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// [`ABI_VERSION`](super::ABI_VERSION) of the writer.
    pub abi: u32,
    /// Index of the veth's host end.
    pub veth: u32,
    /// Id of the private namespace, as the host's namespace sees it.
    pub private_ns: u32,
    /// Mark of our own packets to upstreams; 0: they carry none.
    pub own_mark: u32,
    /// Any of the constants that begin with `NODE_`.
    pub flags: u32,
    /// The link-layer address of the veth's inner end, and two zeros.
    pub inner: [u8; 8],
}

/// [`Node::flags`]: replies leave by the interface that the connection came in by.
pub const NODE_REPLY_BY_ARRIVAL: u32 = 1;
/// [`Node::flags`]: some upstreams see the client's address, and answer to it.
pub const NODE_ANSWERS: u32 = 2;
/// [`Node::flags`]: some interface is a layer 3 device, such as a tunnel, whose packets have no
/// Ethernet header.
pub const NODE_L3_DEVICES: u32 = 4;

layout! {
    InterfaceKey: 4,
    Interface: 4,
    Node: 5 * 4 + 8,
}
