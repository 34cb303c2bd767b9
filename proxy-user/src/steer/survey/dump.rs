//! One request over a netlink protocol that `rtnetlink` doesn't speak, and all replies to it.

use std::io;

use netlink_packet_core::{
    DecodeError, Emitable, NLA_HEADER_SIZE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};

/// A message whose payload is not parsed here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Raw {
    kind: u16,
    payload: Vec<u8>,
}

impl NetlinkSerializable for Raw {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.payload.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..self.payload.len()].copy_from_slice(&self.payload);
    }
}

impl NetlinkDeserializable for Raw {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { kind: header.message_type, payload: payload.to_vec() })
    }
}

/// Requests a dump of all objects of one kind, and returns the payloads of the replies.
pub fn dump(protocol: isize, kind: u16, request: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&dump_request(kind, request), 0)?;
    let mut replies = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for payload in messages(&datagram) {
            match payload {
                NetlinkPayload::Done(_) => return Ok(replies),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(Raw { payload, .. }) => replies.push(payload),
                _ => {}
            }
        }
    }
}

/// A request for a dump of all objects of one kind.
pub fn dump_request(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let raw = Raw { kind, payload: payload.to_vec() };
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(raw));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

/// The messages of a datagram, up to the first that can't be read.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = NetlinkPayload<Raw>> {
    std::iter::from_fn(move || {
        let message = NetlinkMessage::<Raw>::deserialize(datagram).ok()?;
        let length = usize::try_from(message.header.length).ok()?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message.payload)
    })
}

/// The payloads of a datagram's messages, except netlink's own, up to the first that can't be read.
pub fn payloads(datagram: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    messages(datagram).filter_map(|message| match message {
        NetlinkPayload::InnerMessage(Raw { payload, .. }) => Some(payload),
        _ => None,
    })
}

/// The attributes in a payload, with their types, up to the first that can't be read.
pub fn attributes(payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(payload).map_while(Result::ok).map(|attribute| {
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        (kind, &attribute.into_inner()[NLA_HEADER_SIZE..length])
    })
}

/// An attribute's value as text, which the kernel ends with a zero.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A type that no protocol reserves.
    const KIND: u16 = 0x20;

    #[test]
    fn messages_are_read_up_to_the_first_that_is_cut() {
        let one = dump_request(KIND, b"abcd");
        let two = [&one[..], &one[..]].concat();
        let raw = || NetlinkPayload::InnerMessage(Raw { kind: KIND, payload: b"abcd".to_vec() });
        assert_eq!(messages(&two).collect::<Vec<_>>(), [raw(), raw()]);
        assert_eq!(messages(&two[..two.len() - 1]).count(), 1);
        assert_eq!(messages(&[0; 64]).count(), 0, "a length of zero does not loop");
    }

    #[test]
    fn attributes_are_read_up_to_the_first_that_is_cut() {
        let payload = [7, 0, 1, 0x80, b'x', b'y', 0, 0xff, 6, 0, 2, 0, 1, 2];
        let read: Vec<_> = attributes(&payload).collect();
        assert_eq!(read, [(1, &b"xy\0"[..]), (2, &[1, 2][..])]);
        assert_eq!(attributes(&payload[..13]).count(), 1);
        assert_eq!(attributes(&[0; 8]).count(), 0);
        assert_eq!(text(b"xy\0z"), "xy");
    }
}
