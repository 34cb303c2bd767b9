//! Streams of many bytes, and what is lost, doubled or moved in them.

pub const MEBIBYTE: usize = 1 << 20;

/// Bytes without a short period, so that a lost, doubled or moved block shows. `seed` must not
/// be 0.
pub fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend(seed.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Compares length and checksum, and names the first byte that differs.
#[track_caller]
pub fn assert_same_bulk(actual: &[u8], expected: &[u8]) {
    let summary = |bytes: &[u8]| (bytes.len(), crc32c::crc32c(bytes));
    let differs = actual.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(summary(actual), summary(expected), "first difference at {differs:?}");
    assert_eq!(differs, None, "the same checksum by chance");
}
