//! What the programs count.

/// The value of `foreword_stats`, one per CPU. Counts packets, not bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// A connection's first packet, sent to our listener.
    pub steered_syn: u64,
    /// A connection's first packet, answered with a reset since its upstream is down.
    pub refused_syn: u64,
    /// An ACK that proved a SYN cookie of ours, sent to our listener.
    pub steered_cookie: u64,
    /// A packet of a connection that is already ours.
    pub steered_flow: u64,
    /// An ICMP error about a connection of ours.
    pub steered_icmp: u64,
    /// TCP to a protected port that belongs to no connection of ours, left alone.
    pub passed: u64,
    /// A reply sent on by the routing table's answer.
    pub returned: u64,
    /// A reply without a forwarding route, left to the host's stack.
    pub returned_to_stack: u64,
    /// The private namespace asked for a listener and got ours.
    pub looked_up: u64,
    /// The private namespace asked for a listener and there was none: the process is gone.
    pub no_listener: u64,
    /// `foreword_conns` was full; the connection works, but is not shown there.
    pub untracked: u64,
    /// A fragment of TCP to a protected port, left alone.
    pub fragment_passed: u64,
    /// A fragment of TCP to a protected port, dropped.
    pub fragment_dropped: u64,
    /// An upstream's packet to the client whose address we connected from, sent to us.
    pub answered: u64,
    /// The same of an upstream on this node, on its way out.
    pub answered_here: u64,
}

impl Stats {
    /// Every counter with its word for metrics and reports.
    pub const fn named(&self) -> [(&'static str, u64); 15] {
        [
            ("steered-syn", self.steered_syn),
            ("refused-syn", self.refused_syn),
            ("steered-cookie", self.steered_cookie),
            ("steered-flow", self.steered_flow),
            ("steered-icmp", self.steered_icmp),
            ("passed", self.passed),
            ("returned", self.returned),
            ("returned-to-stack", self.returned_to_stack),
            ("looked-up", self.looked_up),
            ("no-listener", self.no_listener),
            ("untracked", self.untracked),
            ("fragment-passed", self.fragment_passed),
            ("fragment-dropped", self.fragment_dropped),
            ("answered", self.answered),
            ("answered-here", self.answered_here),
        ]
    }

    /// Adds another CPU's counters to these.
    pub fn add(&mut self, other: &Self) {
        self.steered_syn += other.steered_syn;
        self.refused_syn += other.refused_syn;
        self.steered_cookie += other.steered_cookie;
        self.steered_flow += other.steered_flow;
        self.steered_icmp += other.steered_icmp;
        self.passed += other.passed;
        self.returned += other.returned;
        self.returned_to_stack += other.returned_to_stack;
        self.looked_up += other.looked_up;
        self.no_listener += other.no_listener;
        self.untracked += other.untracked;
        self.fragment_passed += other.fragment_passed;
        self.fragment_dropped += other.fragment_dropped;
        self.answered += other.answered;
        self.answered_here += other.answered_here;
    }
}
