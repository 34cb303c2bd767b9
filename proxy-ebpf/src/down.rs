//! Refuses first packets while nobody could serve them: the upstream is down. Without us, its host would
//! answer them with a reset; so does the private namespace, if nobody listens there.
//!
//! Who listens is asked twice about a first packet: by steer, since a packet without a listener is not
//! ours and goes past us, and by the kernel, once it is inside. Only the second answer may be nobody.
//! So steer says it to the lookup in a slot of the CPU, on which the packet goes straight on, and every
//! question of a program's own empties that slot first.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use proxy_common::abi::{DownKey, RULE_REFUSES_DOWN, Rule};

use crate::maps::{DOWN, REFUSED};
use crate::packet::Packet;

/// Whether a first packet is for an upstream that is down. Notes that somebody has aimed at it.
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
    let Some(down) = DOWN.get_ptr_mut(key) else { return false };
    // SAFETY: the entry stays as long as the program runs, and any time that is written is a true one.
    unsafe { (*down).aimed_at_ns = bpf_ktime_get_ns() };
    true
}

/// Has nobody listen for the packet that this CPU hands on next, or takes that back.
#[inline(always)]
pub fn refuse_next(is_refused: bool) {
    if let Some(slot) = REFUSED.get_ptr_mut(0) {
        // SAFETY: the entry is this CPU's own, and a program is not moved to another one.
        unsafe { *slot = is_refused.into() };
    }
}

/// Whether nobody is to listen.
#[inline(always)]
pub fn is_refused() -> bool {
    // SAFETY: as above.
    REFUSED.get_ptr(0).is_some_and(|slot| unsafe { *slot } != 0)
}
