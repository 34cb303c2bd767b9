//! One question to the kernel, over a netlink protocol that our library does not speak, and
//! everything that it answers.

use std::io;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

/// Sizes and numbers of `include/uapi/linux/netlink.h`.
const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST_DUMP: u16 = 0x0301;
const ATTRIBUTE_HEADER: usize = 4;
/// The bits of an attribute's type that are flags.
const ATTRIBUTE_FLAGS: u16 = 0xc000;

/// Asks for all objects of one kind, and returns the payload of each message that comes.
pub fn dump(protocol: isize, kind: u16, question: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(kind, question), 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for (kind, payload) in Messages(&datagram) {
            match kind {
                DONE => return Ok(answers),
                ERROR => return Err(refusal(payload)),
                _ => answers.push(payload.to_vec()),
            }
        }
    }
}

/// A message that asks for all objects of one kind.
pub fn request(kind: u16, question: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + question.len()).unwrap_or(u32::MAX);
    let mut message = Vec::from(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    // Sequence number and sender: there is one question on this socket, and one who asks.
    message.extend([0; 8]);
    message.extend(question);
    message
}

fn refusal(payload: &[u8]) -> io::Error {
    let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
    if code == 0 { Errno::EPROTO.into() } else { io::Error::from_raw_os_error(code.wrapping_neg()) }
}

/// The messages of a datagram: the type of each, and its payload. Ends at the first that is cut.
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(u32::from_ne_bytes(*self.0.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*self.0.get(4..)?.first_chunk()?);
        let payload = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    }
}

/// The attributes in a payload: the type of each, and its value. Ends at the first that is cut.
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.0.first_chunk()?));
        let kind = u16::from_ne_bytes(*self.0.get(2..)?.first_chunk()?) & !ATTRIBUTE_FLAGS;
        let value = self.0.get(ATTRIBUTE_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// An attribute's value as text, which the kernel ends with a zero.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_are_read_up_to_the_first_that_is_cut() {
        let one = request(7, b"abc");
        let mut two = one.clone();
        two.resize(20, 0);
        two.extend(&one);
        let kinds: Vec<_> = Messages(&two).collect();
        assert_eq!(kinds, [(7, &b"abc"[..]), (7, &b"abc"[..])]);
        assert_eq!(Messages(&two[..two.len() - 1]).count(), 1);
        assert_eq!(Messages(&[0; 64]).count(), 0, "a length of zero does not go on for ever");

        let attributes = [7, 0, 1, 0x80, b'x', b'y', 0, 0xff, 6, 0, 2, 0, 1, 2];
        let read: Vec<_> = Attributes(&attributes).collect();
        assert_eq!(read, [(1, &b"xy\0"[..]), (2, &[1, 2][..])]);
        assert_eq!(Attributes(&attributes[..13]).count(), 1);
        assert_eq!(Attributes(&[0; 8]).count(), 0);
        assert_eq!(text(b"xy\0z"), "xy");
    }
}
