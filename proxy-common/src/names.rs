//! Names of kernel objects, so that `bpftool`, `ip` and a later run recognise what is ours.
//!
//! The kernel keeps at most [`OBJECT_NAME_MAX`] bytes of a program's or map's name; each name here
//! fits whole.

/// `BPF_OBJ_NAME_LEN - 1`, from the kernel's `include/uapi/linux/bpf.h`.
pub const OBJECT_NAME_MAX: usize = 15;

/// TC ingress of each protected interface: finds our flows and redirects them to the listener.
pub const STEER: &str = "foreword_steer";
/// XDP of each protected interface: turns away what may not open a connection.
pub const GUARD: &str = "foreword_guard";
/// TC ingress of each protected interface, behind steer: keeps ports closed that nobody steers.
pub const HOLD: &str = "foreword_hold";
/// TC egress of each protected interface: drops SYN-ACKs that steering did not make.
pub const SYNACK: &str = "foreword_synack";
/// TC egress of each protected interface: drops SYN-ACKs of ports that are held.
pub const HOLD_TX: &str = "foreword_holdtx";
/// TC ingress of the interfaces that upstreams answer by: leads answers to the client back to us.
pub const ANSWER: &str = "foreword_answer";
/// TC egress of the same: leads answers of this node's own servers back to us.
pub const EGRESS: &str = "foreword_egress";
/// TC ingress of the veth's host end: sends replies on the node's way out.
pub const RETURN: &str = "foreword_return";
/// `sk_lookup` in the private namespace: answers with our listener.
pub const LOOKUP: &str = "foreword_lookup";
/// sockops on our cgroup: keeps [`CONNS`].
pub const TRACK: &str = "foreword_track";

/// Port → rule.
pub const RULES: &str = "foreword_rules";
/// A bit for each port that has a rule.
pub const PORTS: &str = "foreword_ports";
/// A port's table and destination → rule.
pub const DESTINATIONS: &str = "foreword_dests";
/// Rule and source → may open connections.
pub const TRUST: &str = "foreword_trust";
/// Rule and source → one of the node's own pods.
pub const PODS: &str = "foreword_pods";
/// Connection → one that a pod of this node has opened.
pub const POD_SYNS: &str = "foreword_podsyn";
/// The last SYN-ACK that was dropped because steering did not make it; one entry.
pub const BYPASS: &str = "foreword_bypass";
/// Rule and source → how many connections it has opened lately.
pub const RATES: &str = "foreword_rates";
/// Protected interface → what is on it.
pub const NICS: &str = "foreword_nics";
/// Port of an upstream that sees the clients' addresses.
pub const BACKS: &str = "foreword_backs";
/// Connection → the way that it came in.
pub const PATHS: &str = "foreword_paths";
/// Upstream → it can't be reached.
pub const DOWN: &str = "foreword_down";
/// Whether the packet that is on its way inside gets no listener, one entry per CPU.
pub const REFUSED: &str = "foreword_refuse";
/// Packets dropped by [`crate::Reason`], one entry per CPU.
pub const DROPS: &str = "foreword_drops";
/// Port → closed while nobody steers it. The program of this name uses it.
pub const HELD: &str = "foreword_held";
/// What the programs need to know of the node; one entry.
pub const NODE: &str = "foreword_node";
/// Address family → listener.
pub const LISTENERS: &str = "foreword_listen";
/// Packet counters, one entry per CPU.
pub const STATS: &str = "foreword_stats";
/// Lines written to the log of late, one entry per CPU.
pub const SAID: &str = "foreword_said";
/// Connection counters by [`crate::Reason`], written by userspace.
pub const REASONS: &str = "foreword_reason";
/// Live connections, by socket cookie.
pub const CONNS: &str = "foreword_conns";

/// Where bpffs is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";
/// Folder of the pins, below [`BPFFS`]; one folder per instance inside it.
pub const PIN_FOLDER: &str = "foreword";
/// The veth's host end is called this and the instance's number.
pub const VETH_PREFIX: &str = "fwd";
/// The veth's inner end, alone in the private namespace.
pub const VETH_INNER: &str = "s1";
/// The instance's cgroup is called this and the instance's number.
pub const CGROUP_PREFIX: &str = "foreword.";

/// The host ends of our veths have indices from here on, [`VETH_INDICES`] of them: a program tells by
/// the index alone that a packet came out of a Foreword, be it this one, its predecessor or its
/// successor.
pub const VETH_INDEX_BASE: u32 = 0x0f0e_0000;
/// See [`VETH_INDEX_BASE`].
pub const VETH_INDICES: u32 = 1 << 16;

/// Whether an interface's index is one of our veths'.
#[inline]
pub const fn is_veth_index(index: u32) -> bool {
    index.wrapping_sub(VETH_INDEX_BASE) < VETH_INDICES
}

const _: () = {
    let names = [
        STEER,
        RETURN,
        LOOKUP,
        TRACK,
        GUARD,
        HOLD,
        HOLD_TX,
        SYNACK,
        PODS,
        POD_SYNS,
        BYPASS,
        ANSWER,
        EGRESS,
        RULES,
        NODE,
        LISTENERS,
        STATS,
        REASONS,
        CONNS,
        TRUST,
        RATES,
        NICS,
        BACKS,
        PATHS,
        DOWN,
        REFUSED,
        DROPS,
        HELD,
        DESTINATIONS,
        PORTS,
        SAID,
    ];
    let mut i = 0;
    while i < names.len() {
        assert!(names[i].len() <= OBJECT_NAME_MAX);
        i += 1;
    }
};
