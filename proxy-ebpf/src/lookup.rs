//! Answers, in the private namespace, who listens on a protected port: our listener, whatever the
//! destination address. It lives and dies with the process's sockets; without them the answer is
//! nobody, and steering lets the packet by. Nobody, too, where a packet inside is to be refused
//! ([`crate::down`]).

use aya_ebpf::bindings::bpf_sk_lookup;
use aya_ebpf::programs::SkLookupContext;

use proxy_common::abi::{LISTENER_V4, LISTENER_V6};

use crate::down;
use crate::maps::{LISTENERS, count, has_rule};
use crate::packet::{AF_INET6, IPPROTO_TCP};

/// Assigns our listener of the packet's family, if the port has a rule.
#[inline(always)]
pub fn choose_listener(ctx: &SkLookupContext) {
    let lookup: *const bpf_sk_lookup = ctx.lookup;
    // SAFETY: the context is valid as long as the program runs, and these fields are readable.
    let (protocol, family, port) =
        unsafe { ((*lookup).protocol, (*lookup).family, (*lookup).local_port) };
    // The context holds the local port in the host's byte order.
    // A retired rule is as good as any: what steer has sent is to be served.
    if protocol != u32::from(IPPROTO_TCP) || !has_rule((port as u16).to_be()) {
        return;
    }
    if down::is_refused() {
        return;
    }
    let listener = if family == AF_INET6 { LISTENER_V6 } else { LISTENER_V4 };
    match LISTENERS.redirect_sk_lookup(ctx, listener, 0) {
        Ok(()) => count(|s| &mut s.looked_up),
        Err(_) => count(|s| &mut s.no_listener),
    }
}
