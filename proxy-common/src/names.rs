//! Names of programs, files and devices, by which `bpftool`, `ip` and a later run recognise what is
//! ours. Those of maps are in [`maps`](crate::maps).
//!
//! The kernel keeps at most [`OBJECT_NAME_MAX`] bytes of a program's or map's name, so no name is
//! longer.

/// `BPF_OBJ_NAME_LEN - 1`, from the kernel's `include/uapi/linux/bpf.h`.
pub const OBJECT_NAME_MAX: usize = 15;

/// Fails to compile if a name is longer than the kernel keeps.
pub(crate) const fn assert_fits(name: &str) {
    assert!(name.len() <= OBJECT_NAME_MAX);
}

macro_rules! programs {
    ($($(#[doc = $doc:literal])+ $program:ident = $name:literal;)+) => {
        $($(#[doc = $doc])+ pub const $program: &str = $name;)+
        const _: () = { $(assert_fits($name);)+ };
    };
}

programs! {
    /// TC ingress of each protected interface: redirects our packets to the private namespace.
    STEER = "foreword_steer";
    /// XDP of each protected interface: drops SYNs of sources that may not connect.
    GUARD = "foreword_guard";
    /// TC ingress of each protected interface, behind steer: keeps ports closed that nobody steers.
    HOLD = "foreword_hold";
    /// TC egress of each protected interface: drops SYN-ACKs that no steered connection sent.
    SYNACK = "foreword_synack";
    /// TC egress of each protected interface: drops SYN-ACKs of held ports.
    HOLD_TX = "foreword_holdtx";
    /// TC ingress of the interfaces that upstreams answer by: redirects their answers to us.
    ANSWER = "foreword_answer";
    /// TC egress of the interfaces that upstreams answer by: redirects answers of this node's own
    /// servers to us.
    EGRESS = "foreword_egress";
    /// TC ingress of the veth's host end: forwards replies to their next hop.
    RETURN = "foreword_return";
    /// `sk_lookup` in the private namespace: assigns our listener.
    LOOKUP = "foreword_lookup";
    /// sockops on our cgroup: keeps [`CONNS`](crate::maps::CONNS).
    TRACK = "foreword_track";
}

/// Where bpffs is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";
/// Directory of the pins, below [`BPFFS`], with a directory for each instance.
pub const PIN_FOLDER: &str = "foreword";
/// The name of the veth's host end is this and the instance's number.
pub const VETH_PREFIX: &str = "fwd";
/// The veth's inner end, in the private namespace.
pub const VETH_INNER: &str = "s1";
/// The name of the instance's cgroup is this and the instance's number.
pub const CGROUP_PREFIX: &str = "foreword.";

/// The first of the [`VETH_INDICES`] indices that host ends of Foreword's veths have. By the index
/// alone, a program knows that a packet came out of an instance: this one, its predecessor or its
/// successor.
pub const VETH_INDEX_BASE: u32 = 0x0f0e_0000;
/// How many indices begin at [`VETH_INDEX_BASE`].
pub const VETH_INDICES: u32 = 1 << 16;

/// Whether an interface's index is in the range of Foreword's veths.
#[inline]
pub const fn is_veth_index(index: u32) -> bool {
    index.wrapping_sub(VETH_INDEX_BASE) < VETH_INDICES
}
