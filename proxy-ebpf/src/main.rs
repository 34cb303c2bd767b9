//! The entry points of Foreword's eBPF programs, one per hook, and nothing else: each calls the
//! module of its name and turns "not ours" into the hook's way of saying so.
//!
//! Whatever is not ours goes on as if we were not there. On TC that is `TCX_NEXT` (-1, the same as
//! `TC_ACT_UNSPEC`), never `TC_ACT_OK`, which would end the chain and starve the programs behind.
#![no_std]
#![no_main]

mod homeward;
mod lookup;
mod maps;
mod packet;
mod steer;
mod track;

use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::bindings::tcx_action_base::TCX_NEXT;
use aya_ebpf::macros::{classifier, sk_lookup, sock_ops};
use aya_ebpf::programs::{SkLookupContext, SockOpsContext, TcContext};

/// TC ingress of each protected interface.
#[classifier]
pub fn foreword_steer(ctx: TcContext) -> i32 {
    steer::steer(&ctx).unwrap_or(TCX_NEXT)
}

/// TC ingress of the veth's host end.
#[classifier]
pub fn foreword_return(ctx: TcContext) -> i32 {
    homeward::send_home(&ctx).unwrap_or(TCX_NEXT)
}

/// `sk_lookup` of the private namespace.
#[sk_lookup]
pub fn foreword_lookup(ctx: SkLookupContext) -> u32 {
    lookup::choose_listener(&ctx);
    SK_PASS
}

/// sockops of our cgroup. The returned value is a reply that none of our operations reads.
#[sock_ops]
pub fn foreword_track(ctx: SockOpsContext) -> u32 {
    track::note(&ctx);
    1
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// The helpers we call are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
