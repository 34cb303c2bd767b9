//! Refuses new connections while their upstream is down. Without us, its host would answer the SYN
//! with a reset; with us, the private namespace does so if nobody listens there.
//!
//! A listener is looked up twice for a SYN: by steer, since a packet without a listener is not ours
//! and passes us, and by the kernel once the packet is inside. Only the second lookup may find
//! nobody. So steer sets a flag for this CPU, on which the kernel handles the packet next, and
//! `foreword_lookup` reads it. Each socket lookup of our programs clears the flag first.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use proxy_common::abi::{DownKey, RULE_REFUSES_DOWN, Rule};

use crate::maps::{DOWN_UPSTREAMS, REFUSE_NEXT};
use crate::packet::Packet;

/// Whether a SYN is for an upstream that is down. Records that it is still in demand.
#[inline(always)]
pub fn is_down(rule: Rule, packet: &Packet) -> bool {
    if rule.flags & RULE_REFUSES_DOWN == 0 {
        return false;
    }
    let key = if rule.upstream == 0 {
        let port = u16::from_be(packet.destination_port).into();
        DownKey { upstream: 0, port, address: packet.destination_address() }
    } else {
        DownKey { upstream: rule.upstream, port: 0, address: [0; 16] }
    };
    let Some(down) = DOWN_UPSTREAMS.get_ptr_mut(key) else { return false };
    // SAFETY: the entry stays as long as the program runs, and concurrent writers all write the
    // current time.
    unsafe { (*down).last_refused_ns = bpf_ktime_get_ns() };
    true
}

/// Sets or clears the flag for the packet that this CPU hands to the private namespace next.
#[inline(always)]
pub fn refuse_next(is_refused: bool) {
    if let Some(flag) = REFUSE_NEXT.get_ptr_mut(0) {
        // SAFETY: the entry is this CPU's own, and a program is not moved to another one.
        unsafe { *flag = is_refused.into() };
    }
}

/// Whether the flag is set.
#[inline(always)]
pub fn is_refused() -> bool {
    // SAFETY: as above.
    REFUSE_NEXT.get_ptr(0).is_some_and(|flag| unsafe { *flag } != 0)
}
