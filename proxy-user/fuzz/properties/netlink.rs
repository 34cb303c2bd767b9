//! Replies of the kernel over the netlink protocols that rtnetlink doesn't speak: messages in a datagram,
//! and attributes in a message.
//!
//! An input is a datagram, and also what one is made of.

use arbitrary::{Arbitrary as _, Unstructured};
use foreword::steer::survey::dump::{attributes, dump_request, payloads, text};

/// Checks one input.
pub fn check(data: &[u8]) {
    check_messages(data);
    check_attributes(data);
    check_text(data);
    if let Ok(parts) = Vec::<(u16, Vec<u8>)>::arbitrary_take_rest(Unstructured::new(data)) {
        check_made(&parts);
    }
}

fn check_messages(datagram: &[u8]) {
    payloads(datagram).for_each(|payload| check_attributes(&payload));
}

fn check_attributes(payload: &[u8]) {
    let mut end = payload.as_ptr() as usize;
    for (kind, value) in attributes(payload) {
        assert_eq!(kind & 0xc000, 0, "flags are no part of the type");
        end = check_behind(payload, value, end);
        check_text(value);
    }
}

/// The part lies within the whole, and behind `end` with a header in between. Its own end.
fn check_behind(whole: &[u8], part: &[u8], end: usize) -> usize {
    const LEAST_HEADER: usize = 4;
    let begin = part.as_ptr() as usize;
    assert!(begin >= end + LEAST_HEADER, "it overlaps the one before");
    assert!(begin + part.len() <= whole.as_ptr() as usize + whole.len(), "it lies outside");
    begin + part.len()
}

fn check_text(value: &[u8]) {
    assert!(!text(value).contains('\0'));
    if let Ok(whole) = std::str::from_utf8(value) {
        assert_eq!(text(value), whole.split('\0').next().unwrap_or_default());
    }
}

/// What is written is read back, message by message and attribute by attribute.
fn check_made(parts: &[(u16, Vec<u8>)]) {
    let parts: Vec<_> = parts.iter().map(|(kind, value)| (kind & 0x3fff, &value[..])).collect();
    let mut payload = Vec::new();
    for (kind, value) in &parts {
        let Ok(length) = u16::try_from(value.len() + 4) else { return };
        payload.extend(length.to_ne_bytes());
        payload.extend(kind.to_ne_bytes());
        payload.extend(*value);
        payload.resize(payload.len().next_multiple_of(4), 0);
    }
    assert_eq!(attributes(&payload).collect::<Vec<_>>(), parts);

    // The first sixteen types are netlink's own.
    let parts = || parts.iter().filter(|(kind, _)| *kind >= 16);
    let mut datagram = Vec::new();
    for (kind, value) in parts() {
        datagram.extend(dump_request(*kind, value));
        datagram.resize(datagram.len().next_multiple_of(4), 0);
    }
    let read = payloads(&datagram).collect::<Vec<_>>();
    assert_eq!(read, parts().map(|(_, value)| value.to_vec()).collect::<Vec<_>>());
}
