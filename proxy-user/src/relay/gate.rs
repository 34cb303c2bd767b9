//! Holds back a client's first payload until it is known not to be a second header.
//!
//! The bytes are looked at where they are, in the socket, so nothing is taken out of it, and the
//! upstream can speak meanwhile.

use std::io::ErrorKind;

use proxy_common::Reason;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::header::Beginning;
use crate::sys::socket;

/// As many bytes as decide it: the longer signature's.
const ENOUGH: usize = 12;

/// Ready when the payload may be read.
pub async fn pass(client: &TcpStream) -> Result<(), Reason> {
    let mut bytes = [0; ENOUGH];
    let mut seen = 0;
    loop {
        let ready = client.ready(Interest::READABLE).await.map_err(|_| Reason::ClientReset)?;
        // The bytes that were seen already are no news: wait for more.
        let news = client.try_io(Interest::READABLE, || {
            let length = socket::peek(client, &mut bytes)?;
            if length > seen { Ok(length) } else { Err(ErrorKind::WouldBlock.into()) }
        });
        match news {
            Ok(length) => seen = length,
            // What has ended can no longer become a header.
            Err(error) if error.kind() == ErrorKind::WouldBlock && ready.is_read_closed() => {
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return Err(Reason::ClientReset),
        }
        match Beginning::of(&bytes[..seen]) {
            Beginning::Header(_) => return Err(Reason::SecondHeader),
            Beginning::Other => return Ok(()),
            Beginning::Open => {}
        }
    }
}
