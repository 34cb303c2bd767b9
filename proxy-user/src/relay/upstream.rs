//! Connects to a connection's upstream.

use std::io::{self, ErrorKind};

use proxy_common::Reason;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::address::{OriginalDst, UpstreamAddr};
use crate::config::settings::{Upstream, UpstreamAddress};
use crate::sys::socket;

/// Connects from the host's network namespace, to the first address that answers. All attempts
/// together have the one connect time.
pub async fn connect(
    upstream: &Upstream,
    destination: OriginalDst,
    mark: Option<u32>,
) -> Result<(TcpStream, UpstreamAddr), Reason> {
    let original = [destination.as_upstream()];
    let addresses = match &upstream.address {
        UpstreamAddress::Original => &original[..],
        UpstreamAddress::Fixed { addresses, .. } => addresses,
    };
    let attempts = async {
        let mut reason = Reason::UpstreamUnreachable;
        for &address in addresses {
            match connect_to(address, mark).await {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => {
                    tracing::debug!(%error, upstream = %address, "cannot connect");
                    reason = reason_for(&error);
                }
            }
        }
        Err(reason)
    };
    timeout(upstream.connect_timeout, attempts).await.unwrap_or(Err(Reason::UpstreamTimeout))
}

async fn connect_to(address: UpstreamAddr, mark: Option<u32>) -> io::Result<TcpStream> {
    let socket = socket::upstream(address.get(), mark)?;
    TcpSocket::from_std_stream(socket.into()).connect(address.get()).await
}

fn reason_for(error: &io::Error) -> Reason {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Reason::UpstreamRefused,
        ErrorKind::TimedOut => Reason::UpstreamTimeout,
        _ => Reason::UpstreamUnreachable,
    }
}
