//! Keeps `foreword_conns`: one entry for each TCP socket of our cgroup, from the end of the
//! handshake to the close. It is for people to look at; no other program reads it.

use aya_ebpf::bindings::{
    BPF_ANY, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
    BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_TCP_CLOSE, BPF_TCP_ESTABLISHED,
    bpf_sock_ops,
};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_ktime_get_ns};
use aya_ebpf::programs::SockOpsContext;
use proxy_common::abi::{Address, Conn, ConnKey, ROLE_INBOUND, ROLE_UPSTREAM};

use crate::maps::{CONNS, count};
use crate::packet::AF_INET6;

/// Records what happened to a socket.
#[inline(always)]
pub fn track(ctx: &SockOpsContext) {
    match ctx.op() {
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => established(ctx, ROLE_INBOUND),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(ctx, ROLE_UPSTREAM),
        BPF_SOCK_OPS_STATE_CB => state_changed(ctx),
        _ => {}
    }
}

#[inline(always)]
fn established(ctx: &SockOpsContext, role: u32) {
    let ops = ctx.ops;
    let conn = Conn {
        remote: remote_address(ctx),
        local: local_address(ctx),
        // The context holds the remote port in the network's byte order, the local in the host's.
        remote_port: u32::from_be(ctx.remote_port()),
        local_port: ctx.local_port(),
        role,
        state: BPF_TCP_ESTABLISHED,
        // SAFETY: a helper without arguments.
        since_ns: unsafe { bpf_ktime_get_ns() },
        srtt_us: round_trip(ops),
    };
    // Callbacks are only needed for a socket that is in the map.
    if CONNS.insert(key(ctx), conn, BPF_ANY.into()).is_err()
        || ctx.set_cb_flags(BPF_SOCK_OPS_STATE_CB_FLAG as i32).is_err()
    {
        count(|s| &mut s.untracked);
    }
}

#[inline(always)]
fn state_changed(ctx: &SockOpsContext) {
    let key = key(ctx);
    let state = ctx.arg(1);
    if state == BPF_TCP_CLOSE {
        // An entry that isn't there needs no removal.
        let _ = CONNS.remove(key);
    } else if let Some(conn) = CONNS.get_ptr_mut(key) {
        // SAFETY: the kernel calls us under the socket's lock, so no other CPU writes this entry;
        // it is removed only above.
        let conn = unsafe { &mut *conn };
        conn.state = state;
        conn.srtt_us = round_trip(ctx.ops);
    }
}

#[inline(always)]
fn key(ctx: &SockOpsContext) -> ConnKey {
    // SAFETY: the context is this program's own.
    ConnKey { cookie: unsafe { bpf_get_socket_cookie(ctx.ops.cast()) } }
}

#[inline(always)]
fn round_trip(ops: *const bpf_sock_ops) -> u64 {
    // SAFETY: the context is valid as long as the program runs. The kernel keeps eighths.
    u64::from(unsafe { (*ops).srtt_us } >> 3)
}

#[inline(always)]
fn remote_address(ctx: &SockOpsContext) -> Address {
    if ctx.family() == AF_INET6 {
        // SAFETY: the context is valid as long as the program runs.
        bytes(unsafe { &raw const (*ctx.ops).remote_ip6 })
    } else {
        mapped(ctx.remote_ip4())
    }
}

#[inline(always)]
fn local_address(ctx: &SockOpsContext) -> Address {
    if ctx.family() == AF_INET6 {
        // SAFETY: the context is valid as long as the program runs.
        bytes(unsafe { &raw const (*ctx.ops).local_ip6 })
    } else {
        mapped(ctx.local_ip4())
    }
}

/// An IPv4 address in network byte order, as IPv4-mapped IPv6.
#[inline(always)]
fn mapped(address: u32) -> Address {
    let [a, b, c, d] = address.to_ne_bytes();
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Copies an IPv6 address word by word: the verifier allows no wider read of the context.
#[inline(always)]
fn bytes(words: *const [u32; 4]) -> Address {
    let mut address = [0; 16];
    let mut i = 0;
    while i < 4 {
        // SAFETY: in bounds of the four words; volatile, so that two reads are never merged.
        let word = unsafe { words.cast::<u32>().add(i).read_volatile() };
        address[i * 4..i * 4 + 4].copy_from_slice(&word.to_ne_bytes());
        i += 1;
    }
    address
}
