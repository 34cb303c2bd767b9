//! The v2 path allocates nothing: neither decoding, in whatever splits, nor walking TLVs, nor
//! encoding into a buffer that has room.
#![allow(unsafe_code, reason = "an allocator that counts has to be one; nothing else here is")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use proxy_header::samples::AWS;
use proxy_header::tlv::kind;
use proxy_header::{
    CustomTlv, Decoder, Endpoints, Header, Limits, Origin, Outgoing, Pass, Step, TlvPolicy, Version,
};

/// Counts what the current thread asks of the system's allocator.
struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

fn count_one() {
    // At a thread's very end there is no counter any more, and nobody to read it.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came. The counter is a constant-initialised
// cell without a destructor, so counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: the caller keeps the promises that `System` asks for; they are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_one();
        // SAFETY: as in `alloc`; and `block` is from `System`, since every block is.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often a piece of work allocates.
fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let before = ASKED.get();
    black_box(work());
    ASKED.get() - before
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Blocks of each sort that a decoder can meet: whole, to be ignored, and wrong.
fn blocks() -> Vec<Vec<u8>> {
    let block = |rest: &[u8]| [SIGNATURE, rest].concat();
    let tcp6 = [&b"\x21\x21\x00\x24"[..], &[0x20; 36]].concat();
    let ssl = b"\x21\x11\x00\x1e\xc0\x00\x02\x01\xc6\x33\x64\x07\x9c\x40\x01\xbb\
        \x20\x00\x0f\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3";
    let wrong_sum = b"\x21\x11\x00\x13\xc0\x00\x02\x01\xc6\x33\x64\x07\x9c\x40\x01\xbb\
        \x03\x00\x04\x00\x00\x00\x00";
    vec![
        AWS.to_vec(),
        block(&tcp6),
        block(ssl),
        block(wrong_sum),
        block(b"\x20\x00\x00\x00"),
        block(b"\x21\x00\x00\x04what"),
        block(b"\x21\x41\x00\x00"),
    ]
}

fn decode(bytes: &[u8]) -> Header<'_> {
    match Decoder::new(Limits::default()).advance(bytes) {
        Step::Complete { header, .. } => header,
        step => panic!("{step:?}"),
    }
}

#[test]
fn an_allocation_is_counted() {
    assert_eq!(allocations(|| Box::new(1)), 1);
    assert_eq!(allocations(|| vec![0u8; 100]), 1);
    let mut buffer = Vec::with_capacity(1);
    assert_eq!(allocations(|| buffer.extend_from_slice(b"four")), 1);
    assert_eq!(allocations(|| buffer.clear()), 0);
}

#[test]
fn decoding_v2_allocates_nothing() {
    for bytes in blocks() {
        let whole = allocations(|| Decoder::new(Limits::default()).advance(&bytes));
        assert_eq!(whole, 0, "at once: {}", bytes.escape_ascii());

        let mut decoder = Decoder::new(Limits::default());
        let bytewise = allocations(|| {
            for end in 0..=bytes.len() {
                black_box(decoder.advance(&bytes[..end]));
            }
        });
        assert_eq!(bytewise, 0, "byte by byte: {}", bytes.escape_ascii());
    }
}

#[test]
fn walking_tlvs_allocates_nothing() {
    let header = decode(AWS);
    assert_eq!(header.tlvs.iter().count(), 3);
    assert_eq!(allocations(|| header.tlvs.iter().map(|tlv| tlv.value.len()).sum::<usize>()), 0);
    assert_eq!(allocations(|| header.tlvs.find(kind::AWS)), 0);
}

#[test]
fn encoding_v2_into_a_buffer_with_room_allocates_nothing() {
    let inbound = decode(AWS);
    let everything = TlvPolicy {
        pass: Pass::All,
        authority: Some("example.org".to_owned()),
        custom: vec![CustomTlv::new(0xE5, b"text".to_vec()).unwrap()],
        crc32c: true,
        ..TlvPolicy::NONE
    };
    let address = |text: &str| text.parse::<std::net::SocketAddr>().unwrap();
    let tcp6 = Endpoints::new(address("[2001:db8::1]:40000"), address("192.0.2.1:443"));
    for origin in [inbound.origin, Origin::Proxied(tcp6), Origin::Local, Origin::Unknown] {
        let plain = Outgoing::plain(Version::V2, origin);
        let unique_id = Some(&b"f1a0-1"[..]);
        let full = Outgoing { tlvs: inbound.tlvs, policy: &everything, unique_id, ..plain };
        for outgoing in [plain, full] {
            let mut buffer = Vec::with_capacity(2048);
            assert_eq!(allocations(|| outgoing.append_to(&mut buffer)), 0, "{outgoing:?}");
            assert_eq!(decode(&buffer).origin, origin);
        }
    }
}
