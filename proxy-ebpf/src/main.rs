//! The entry points of Foreword's eBPF programs, one per hook. Each calls its module in
//! [`programs`] and translates "not ours" into what the hook returns for it.
//!
//! A packet that isn't ours continues as if these programs were not attached. In TC that is
//! `TCX_NEXT` (-1, the same as `TC_ACT_UNSPEC`), never `TC_ACT_OK`, which would end the chain and
//! skip the programs behind us.
#![no_std]
#![no_main]

mod arrival_path;
mod fib;
mod initial_syn;
mod log;
mod maps;
mod packet;
mod programs;
mod skb;
mod socket;
mod upstream_down;

use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::bindings::tcx_action_base::TCX_NEXT;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::{classifier, sk_lookup, sock_ops, xdp};
use aya_ebpf::programs::{SkLookupContext, SockOpsContext, TcContext, XdpContext};

use crate::programs::{
    answer, egress, guard, hold, hold_tx, lookup, return_path, steer, synack, track,
};

/// XDP of each protected interface.
#[xdp(frags)]
pub fn foreword_guard(ctx: XdpContext) -> u32 {
    let Some(reason) = guard::drop_reason(&ctx) else { return XDP_PASS };
    maps::count_drop(reason);
    XDP_DROP
}

/// TC ingress of each protected interface.
#[classifier]
pub fn foreword_steer(ctx: TcContext) -> i32 {
    steer::steer(&ctx)
}

/// TC ingress of each protected interface, behind steer.
#[classifier]
pub fn foreword_hold(ctx: TcContext) -> i32 {
    hold::hold(&ctx).unwrap_or(TCX_NEXT)
}

/// TC egress of each protected interface.
#[classifier]
pub fn foreword_holdtx(ctx: TcContext) -> i32 {
    hold_tx::hold(&ctx).unwrap_or(TCX_NEXT)
}

/// TC egress of each protected interface.
#[classifier]
pub fn foreword_synack(ctx: TcContext) -> i32 {
    synack::filter(&ctx).unwrap_or(TCX_NEXT)
}

/// TC ingress of the interfaces that upstreams answer by.
#[classifier]
pub fn foreword_answer(ctx: TcContext) -> i32 {
    answer::redirect(&ctx).unwrap_or(TCX_NEXT)
}

/// TC egress of the interfaces that upstreams answer by.
#[classifier]
pub fn foreword_egress(ctx: TcContext) -> i32 {
    egress::redirect(&ctx).unwrap_or(TCX_NEXT)
}

/// TC ingress of the veth's host end.
#[classifier]
pub fn foreword_return(ctx: TcContext) -> i32 {
    return_path::forward(&ctx).unwrap_or(TCX_NEXT)
}

/// `sk_lookup` of the private namespace.
#[sk_lookup]
pub fn foreword_lookup(ctx: SkLookupContext) -> u32 {
    lookup::assign_listener(&ctx);
    SK_PASS
}

/// sockops of our cgroup. The returned value is a reply that none of our operations reads.
#[sock_ops]
pub fn foreword_track(ctx: SockOpsContext) -> u32 {
    track::track(&ctx);
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
