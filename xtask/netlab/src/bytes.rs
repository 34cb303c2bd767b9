//! Bytes in the messages of tests.

/// Longest text that a message shows of some bytes.
const SHOWN: usize = 600;

/// `a` followed by `b`.
pub fn join(a: &[u8], b: &[u8]) -> Vec<u8> {
    [a, b].concat()
}

/// Bytes for a message: text as it is, everything else escaped, a long tail left out.
pub fn text(bytes: &[u8]) -> String {
    let shown = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    if bytes.len() > SHOWN {
        format!("{shown}… ({} bytes)", bytes.len())
    } else {
        shown.to_string()
    }
}

/// Asserts that bytes are equal, with a message that can be read.
#[track_caller]
pub fn assert_same_bytes(actual: &[u8], expected: &[u8]) {
    assert!(actual == expected, "\n  actual: {}\nexpected: {}", text(actual), text(expected));
}
