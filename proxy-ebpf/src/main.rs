//! The entry points of Foreword's eBPF programs, one per hook, and nothing else: each calls the
//! module of its name and turns "not ours" into the hook's way of saying so.
//!
//! Whatever is not ours goes on as if we were not there. On TC that is `TCX_NEXT` (-1, the same as
//! `TC_ACT_UNSPEC`), never `TC_ACT_OK`, which would end the chain and starve the programs behind.
#![no_std]
#![no_main]

mod answer;
mod down;
mod egress;
mod frame;
mod glance;
mod guard;
mod header;
mod hold;
mod hold_tx;
mod homeward;
mod ingress;
mod log;
mod lookup;
mod maps;
mod network;
mod opening;
mod packet;
mod path;
mod route;
mod socket;
mod steer;
mod synack;
mod track;

use aya_ebpf::bindings::sk_action::SK_PASS;
use aya_ebpf::bindings::tcx_action_base::TCX_NEXT;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::{classifier, sk_lookup, sock_ops, xdp};
use aya_ebpf::programs::{SkLookupContext, SockOpsContext, TcContext, XdpContext};

/// XDP of each protected interface.
#[xdp(frags)]
pub fn foreword_guard(ctx: XdpContext) -> u32 {
    let Some(reason) = guard::guard(&ctx) else { return XDP_PASS };
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
    answer::answer(&ctx).unwrap_or(TCX_NEXT)
}

/// TC egress of the same.
#[classifier]
pub fn foreword_egress(ctx: TcContext) -> i32 {
    egress::turn_back(&ctx).unwrap_or(TCX_NEXT)
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
