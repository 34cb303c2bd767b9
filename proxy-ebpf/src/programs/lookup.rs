//! Assigns our listener to every protected port of the private namespace, whatever the destination
//! address. The listener lives and dies with the process. Without it the lookup finds nobody, and
//! steer leaves new connections alone. The lookup also finds nobody for a packet that steer wants
//! refused ([`crate::upstream_down`]).

use aya_ebpf::bindings::bpf_sk_lookup;
use aya_ebpf::programs::SkLookupContext;
use proxy_common::abi::{LISTENER_V4, LISTENER_V6};

use crate::maps::{LISTENERS, count, has_rule};
use crate::packet::{AF_INET6, IPPROTO_TCP};
use crate::upstream_down;

/// Assigns our listener of the packet's family, if the port has a rule.
#[inline(always)]
pub fn assign_listener(ctx: &SkLookupContext) {
    let lookup: *const bpf_sk_lookup = ctx.lookup;
    // SAFETY: the context is valid as long as the program runs, and these fields are readable.
    let (protocol, family, port) =
        unsafe { ((*lookup).protocol, (*lookup).family, (*lookup).local_port) };
    // The context holds the local port in the host's byte order.
    // A retired rule counts as well: what steer has sent here is accepted.
    if protocol != u32::from(IPPROTO_TCP) || !has_rule((port as u16).to_be()) {
        return;
    }
    if upstream_down::is_refused() {
        return;
    }
    let listener = if family == AF_INET6 { LISTENER_V6 } else { LISTENER_V4 };
    match LISTENERS.redirect_sk_lookup(ctx, listener, 0) {
        Ok(()) => count(|s| &mut s.looked_up),
        Err(_) => count(|s| &mut s.no_listener),
    }
}
