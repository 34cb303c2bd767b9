//! Bounds-checked reading of a packet's bytes, with the means that each hook has.
//!
//! Offsets count from the network header, so they are the same behind Ethernet, a VLAN tag or no
//! link-layer header at all. A read beyond the packet's end is `None`.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::bpf_hdr_start_off::BPF_HDR_START_NET;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes_relative;
use aya_ebpf::programs::{TcContext, XdpContext};

/// Bytes of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = 14;
/// Offset of its protocol field.
pub const ETHERTYPE: usize = 12;

/// A type without padding for which every bit pattern is a valid value.
pub trait FromBytes {}
impl FromBytes for u8 {}
impl FromBytes for u16 {}
impl FromBytes for [u8; 2] {}
impl FromBytes for [u8; 4] {}
impl FromBytes for [u16; 2] {}

/// Copies a `T` from `at` bytes after the start of a packet's network header.
#[inline(always)]
pub fn load<T: FromBytes>(ctx: &TcContext, at: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let (skb, size) = (ctx.skb.skb.cast(), size_of::<T>() as u32);
    // SAFETY: the kernel writes at most `size` bytes, and `value` has that many.
    let result = unsafe {
        bpf_skb_load_bytes_relative(skb, at, value.as_mut_ptr().cast(), size, BPF_HDR_START_NET)
    };
    // SAFETY: on success every byte was written, and any bytes are a valid `T`.
    (result == 0).then(|| unsafe { value.assume_init() })
}

/// Headers are looked for in the first bytes of a packet only: this many, more than a frame has.
const HEADERS_MAX: u32 = 10_000;

/// Pulls a packet's headers into its linear part, the only part that is read. A local sender, or a
/// driver, can leave everything after the Ethernet header in page fragments.
#[inline(always)]
pub fn linearize(ctx: &TcContext) {
    let linear = ctx.data_end() - ctx.data();
    let length = ctx.len().min(HEADERS_MAX);
    if linear < length as usize {
        // If memory is short, the packet counts as unreadable.
        let _ = ctx.pull_data(length);
    }
}

/// Copies four bytes as [`load`] does, without a branch: also returns 0, or the kernel's negative
/// error together with four zeros.
#[inline(always)]
pub fn load_word(ctx: &TcContext, at: u32) -> ([u8; 4], i64) {
    let mut bytes = [0; 4];
    let (skb, to) = (ctx.skb.skb.cast(), bytes.as_mut_ptr().cast());
    // SAFETY: the kernel writes four bytes in either case.
    let result = unsafe { bpf_skb_load_bytes_relative(skb, at, to, 4, BPF_HDR_START_NET) };
    (bytes, result)
}

/// A frame as XDP sees it. If it has a VLAN tag, its protocol is the tag's.
pub struct EthernetFrame {
    network: usize,
    end: usize,
    protocol: u16,
}

impl EthernetFrame {
    /// `None` if it is shorter than an Ethernet header.
    #[inline(always)]
    pub fn parse(ctx: &XdpContext) -> Option<Self> {
        let (data, end) = (ctx.data(), ctx.data_end());
        let protocol = read(data + ETHERTYPE, end)?;
        Some(Self { network: data + ETHERNET_LEN, end, protocol })
    }

    /// The EtherType, such as `ETH_P_IP`, in network byte order.
    #[inline(always)]
    pub fn protocol(&self) -> u32 {
        self.protocol.into()
    }

    /// Copies a `T` from `at` bytes after the start of the network header.
    #[inline(always)]
    pub fn load<T: FromBytes>(&self, at: u32) -> Option<T> {
        read(self.network + at as usize, self.end)
    }
}

/// Borrows the `T` at `address` of a packet's linear part, unless it reaches beyond `end`.
#[inline(always)]
pub fn borrow<'a, T: FromBytes>(address: usize, end: usize) -> Option<&'a T> {
    if address + size_of::<T>() > end {
        return None;
    }
    // SAFETY: within the packet, which stays in place as long as no helper changes it, and any
    // bytes are a valid `T`. On CPUs that need aligned words, the kernel aligns network headers,
    // and the verifier refuses unaligned access.
    Some(unsafe { &*(address as *const T) })
}

/// Reads the `T` at `address`, unless it reaches beyond `end`.
#[inline(always)]
fn read<T: FromBytes>(address: usize, end: usize) -> Option<T> {
    if address + size_of::<T>() > end {
        return None;
    }
    // SAFETY: within the frame, and any bytes are a valid `T`.
    Some(unsafe { (address as *const T).read_unaligned() })
}
