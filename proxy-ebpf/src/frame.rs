//! Bounds-checked reading of a packet's octets, for each hook in the way that it has.
//!
//! Every read starts at the network header, and so is the same behind Ethernet, a VLAN tag or
//! nothing. A read over the packet's end is `None`.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::bpf_hdr_start_off::BPF_HDR_START_NET;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes_relative;
use aya_ebpf::programs::{TcContext, XdpContext};

/// Octets of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = 14;
/// Where its protocol stands.
pub const ETHERTYPE: usize = 12;

/// Plain octets: no padding, and every bit pattern is a value.
pub trait Wire {}
impl Wire for u8 {}
impl Wire for u16 {}
impl Wire for [u8; 2] {}
impl Wire for [u8; 4] {}
impl Wire for [u16; 2] {}

/// Copies a `T` from `at` octets behind the start of a packet's network header.
#[inline(always)]
pub fn load<T: Wire>(ctx: &TcContext, at: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let (skb, size) = (ctx.skb.skb.cast(), size_of::<T>() as u32);
    // SAFETY: the kernel writes `size` octets at most, and that is the room there is.
    let result = unsafe {
        bpf_skb_load_bytes_relative(skb, at, value.as_mut_ptr().cast(), size, BPF_HDR_START_NET)
    };
    // SAFETY: on success every octet was written, and any octets are a valid `T`.
    (result == 0).then(|| unsafe { value.assume_init() })
}

/// Octets in which all headers are, where a packet's are looked for: more than a frame of any network.
const HEADERS_MAX: u32 = 10_000;

/// Brings a packet's headers into its linear part, where alone they are read. Who sends a packet can
/// have it lie in pages from the Ethernet header on, and so can some drivers.
#[inline(always)]
pub fn make_linear(ctx: &TcContext) {
    let linear = ctx.data_end() - ctx.data();
    let length = ctx.len().min(HEADERS_MAX);
    if linear < length as usize {
        // Without memory for it, what can't be read is dropped or passed as such.
        let _ = ctx.pull_data(length);
    }
}

/// Copies four octets as [`load`] does, without a branch: with 0, or with the kernel's negative
/// error and octets of zero.
#[inline(always)]
pub fn load_word(ctx: &TcContext, at: u32) -> ([u8; 4], i64) {
    let mut octets = [0; 4];
    let (skb, to) = (ctx.skb.skb.cast(), octets.as_mut_ptr().cast());
    // SAFETY: the kernel writes four octets, whatever it finds.
    let result = unsafe { bpf_skb_load_bytes_relative(skb, at, to, 4, BPF_HDR_START_NET) };
    (octets, result)
}

/// A frame before the kernel has made a packet of it. Behind a VLAN tag its protocol is the tag's.
pub struct EthernetFrame {
    network: usize,
    end: usize,
    protocol: u16,
}

impl EthernetFrame {
    /// `None` if it is cut short.
    #[inline(always)]
    pub fn of(ctx: &XdpContext) -> Option<Self> {
        let (data, end) = (ctx.data(), ctx.data_end());
        let protocol = read(data + ETHERTYPE, end)?;
        Some(Self { network: data + ETHERNET_LEN, end, protocol })
    }

    /// What the network header is: `ETH_P_IP` and the like, in network byte order.
    #[inline(always)]
    pub fn protocol(&self) -> u32 {
        self.protocol.into()
    }

    /// Copies a `T` from `at` octets behind the start of the network header.
    #[inline(always)]
    pub fn load<T: Wire>(&self, at: u32) -> Option<T> {
        read(self.network + at as usize, self.end)
    }
}

/// What is at `address` of a packet's linear part, unless that is beyond `end`.
#[inline(always)]
pub fn at<'a, T: Wire>(address: usize, end: usize) -> Option<&'a T> {
    if address + size_of::<T>() > end {
        return None;
    }
    // SAFETY: within the packet, which stays where it is as long as nothing changes it, and any
    // octets are a `T`. Where a CPU wants words to be aligned, the kernel aligns network headers
    // to them, and the verifier refuses whatever isn't.
    Some(unsafe { &*(address as *const T) })
}

/// Reads at `address`, unless that is beyond `end`.
#[inline(always)]
fn read<T>(address: usize, end: usize) -> Option<T> {
    if address + size_of::<T>() > end {
        return None;
    }
    // SAFETY: within the frame; whoever calls asks for plain octets only, of which any are a `T`.
    Some(unsafe { (address as *const T).read_unaligned() })
}
