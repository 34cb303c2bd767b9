//! What load and server say to each other, behind the header: the first byte of the payload names
//! the work, so that one port does for all of it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use netlab::header;

/// The client that every header names. No connection comes from there, so an address that arrives
/// at the server can only have come by way of the headers.
pub const CLAIMED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 40_000);

/// Bytes of a request, all of them counted.
pub const REQUEST: usize = 100;
/// Bytes of the response.
pub const RESPONSE: usize = 1024;
/// Bytes of a message that is sent there and back.
pub const MESSAGE: usize = 64;

/// How headers begin, of either version.
const BEGINNINGS: [&[u8]; 2] = [&header::V2_SIGNATURE, b"PROXY TCP4 "];

/// Neither our header, nor that of a proxy that adds TLVs, is longer than this.
const LONGEST: usize = 512;

/// What the server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Swallows everything, then says how many bytes it was (eight, least significant first).
    Sink,
    /// Answers [`REQUEST`] bytes with [`RESPONSE`] bytes and closes.
    Respond,
    /// Sends everything back.
    Echo,
}

impl Work {
    /// The first byte of the payload.
    pub fn mark(self) -> u8 {
        match self {
            Self::Sink => b'S',
            Self::Respond => b'R',
            Self::Echo => b'E',
        }
    }

    /// The work that a mark names.
    pub fn of_mark(mark: u8) -> Option<Self> {
        [Self::Sink, Self::Respond, Self::Echo].into_iter().find(|work| work.mark() == mark)
    }
}

/// A version 2 header from [`CLAIMED`] to `destination`, then `length` bytes for `work`.
pub fn opening(destination: SocketAddrV4, work: Work, length: usize) -> Vec<u8> {
    let mut bytes = header::v2(CLAIMED.into(), destination.into());
    bytes.push(work.mark());
    bytes.resize(bytes.len() + length - 1, b'x');
    bytes
}

/// Reads what [`opening`] wrote, or what a proxy made of its header: the work, and where the
/// payload begins. The error says what is wrong with it; `None` that more has to come.
pub fn read_opening(bytes: &[u8]) -> Result<Option<(Work, usize)>, String> {
    let Some(header) = header::decode(bytes) else {
        let may_become_one = bytes.len() <= LONGEST
            && BEGINNINGS.iter().any(|beginning| {
                bytes.iter().zip(*beginning).all(|(byte, expected)| byte == expected)
            });
        return if may_become_one { Ok(None) } else { Err("no header is in front".to_owned()) };
    };
    let client = header.endpoints.map(|it| it.source);
    if client != Some(SocketAddr::from(CLAIMED)) {
        return Err(format!("the header's client is {client:?} and not {CLAIMED}"));
    }
    let Some(&mark) = header.payload.first() else { return Ok(None) };
    let Some(work) = Work::of_mark(mark) else {
        return Err(format!("the payload begins with {mark:#04x}, which names no work"));
    };
    Ok(Some((work, bytes.len() - header.payload.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 10), 9000);

    #[test]
    fn an_opening_can_be_read_as_soon_as_its_first_payload_byte_is_there() {
        let bytes = opening(SERVER, Work::Echo, MESSAGE);
        assert_eq!(bytes.len(), 28 + MESSAGE);
        assert_eq!(read_opening(&bytes), Ok(Some((Work::Echo, 28))));
        assert_eq!(read_opening(&bytes[..29]), Ok(Some((Work::Echo, 28))));
        for cut in 0..29 {
            assert_eq!(read_opening(&bytes[..cut]), Ok(None), "{cut} bytes");
        }
    }

    #[test]
    fn a_wrong_client_and_a_missing_header_are_told() {
        let mut bytes = opening(SERVER, Work::Sink, 10);
        bytes[19] ^= 1;
        assert!(read_opening(&bytes).unwrap_err().contains("198.51.100.6"));
        assert!(read_opening(b"E").is_err());
        assert!(read_opening(&bytes[..12].repeat(50)).is_err());
        let line = b"PROXY TCP4 198.51.100.7 203.0.113.10 40000 9000\r\nR";
        assert_eq!(read_opening(line), Ok(Some((Work::Respond, line.len() - 1))));
        let line = b"PROXY TCP4 198.51.100.7 203.0.113.10 40000 9000\r\n?";
        assert!(read_opening(line).is_err());
    }
}
