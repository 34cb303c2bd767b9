//! Answers of the kernel, as far as we take them apart ourselves: messages in a datagram, and
//! attributes in a message. (What rtnetlink says is read by a library.)
//!
//! An input is a datagram; and it is what one is made of.

use arbitrary::{Arbitrary as _, Unstructured};
use foreword::steer::survey::dump::{Attributes, Messages, request, text};

/// Checks one input.
pub fn check(data: &[u8]) {
    check_messages(data);
    check_attributes(data);
    check_text(data);
    if let Ok(parts) = Vec::<(u16, Vec<u8>)>::arbitrary_take_rest(Unstructured::new(data)) {
        check_made(&parts);
    }
}

/// Each message lies behind the last one, and what is read of them is not more than there is.
fn check_messages(datagram: &[u8]) {
    let mut end = datagram.as_ptr() as usize;
    for (_, payload) in Messages(datagram) {
        end = check_behind(datagram, payload, end);
        check_attributes(payload);
    }
}

fn check_attributes(payload: &[u8]) {
    let mut end = payload.as_ptr() as usize;
    for (kind, value) in Attributes(payload) {
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
    let mut attributes = Vec::new();
    for (kind, value) in &parts {
        let Ok(length) = u16::try_from(value.len() + 4) else { return };
        attributes.extend(length.to_ne_bytes());
        attributes.extend(kind.to_ne_bytes());
        attributes.extend(*value);
        attributes.resize(attributes.len().next_multiple_of(4), 0);
    }
    assert_eq!(Attributes(&attributes).collect::<Vec<_>>(), parts);

    let mut datagram = Vec::new();
    for (kind, value) in &parts {
        datagram.extend(request(*kind, value));
        datagram.resize(datagram.len().next_multiple_of(4), 0);
    }
    assert_eq!(Messages(&datagram).collect::<Vec<_>>(), parts);
}
