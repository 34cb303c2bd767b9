//! What a receiver makes of a connection's first bytes.

use std::fmt;
use std::net::SocketAddr;

use netlab::header::{Endpoints, decode, named_client};
use netlab::{Family, text};

/// The request that follows a header.
pub const PAYLOAD: &[u8] = b"GET / HTTP/1.1\r\nHost: conformance\r\nConnection: close\r\n\r\n";

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub client: SocketAddr,
    pub destination: SocketAddr,
}

/// What became of the connection, and whose it was taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Accepted, with the header's endpoints.
    Named(Ends),
    /// Accepted, with the real endpoints.
    Real,
    /// Accepted as the sender's own, with the real endpoints.
    Local,
    /// Ended without a byte.
    Refused,
    /// Neither served nor ended.
    Waits,
    /// Served in another way, in words.
    Otherwise(String),
}

impl Answer {
    /// Whether it satisfies a rule that asks for `expected`. A receiver that has no word for LOCAL
    /// does by using the real endpoints.
    pub fn satisfies(&self, expected: &Self) -> bool {
        self == expected || (*self == Self::Real && *expected == Self::Local)
    }

    /// Whether the receiver opens an upstream connection for it.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Named(_) | Self::Real | Self::Local)
    }

    /// Endpoints that a receiver used, in view of the real ones.
    fn used(ends: Ends, real: Ends) -> Self {
        if ends == real { Self::Real } else { Self::Named(ends) }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(ends) if Family::BOTH.map(named_client).contains(&ends.client) => {
                f.write_str("accepts, with its addresses")
            }
            Self::Named(ends) => write!(f, "accepts, as `{}`", ends.client),
            Self::Real => f.write_str("accepts, with the real addresses"),
            Self::Local => f.write_str("accepts as LOCAL"),
            Self::Refused => f.write_str("refuses"),
            Self::Waits => f.write_str("waits for more"),
            Self::Otherwise(what) => f.write_str(what),
        }
    }
}

/// An answer with the TLVs that were told to the upstream.
pub type Told = (Answer, Vec<u8>);

/// Reads what an upstream got: a v2 header, and behind it the payload unharmed.
pub fn from_upstream(bytes: &[u8], real: Ends) -> Told {
    told(bytes, real)
        .unwrap_or_else(|| (Answer::Otherwise(format!("sends on `{}`", text(bytes))), Vec::new()))
}

fn told(bytes: &[u8], real: Ends) -> Option<Told> {
    let header = decode(bytes).filter(|it| it.version == 2 && it.payload == PAYLOAD)?;
    let answer = header.endpoints.map_or(Answer::Local, |Endpoints { source, destination }| {
        Answer::used(Ends { client: source, destination }, real)
    });
    Some((answer, header.tlvs.to_vec()))
}

/// nginx's text of a page with both ends in it.
pub const PAGE: &str = "$proxy_protocol_addr|$proxy_protocol_port|\
                        $proxy_protocol_server_addr|$proxy_protocol_server_port";

/// Reads a page of [`PAGE`]'s form, as nginx fills it in: empty where a header had no addresses.
pub fn from_page(bytes: &[u8], real: Ends) -> Told {
    let page = String::from_utf8_lossy(bytes);
    let (head, body) = page.split_once("\r\n\r\n").unwrap_or((&page, ""));
    let fields: Vec<_> = body.trim_end().split('|').collect();
    let answer = match fields[..] {
        ["", _, "", _] => Answer::Real,
        [ip, port, to_ip, to_port] => match (address(ip, port), address(to_ip, to_port)) {
            (Some(client), Some(destination)) => Answer::used(Ends { client, destination }, real),
            _ => Answer::Otherwise(format!("accepts, as `{ip}` and port `{port}`")),
        },
        _ => {
            let status = head.lines().next().unwrap_or_default();
            Answer::Otherwise(format!("answers `{status}`"))
        }
    };
    (answer, Vec::new())
}

fn address(ip: &str, port: &str) -> Option<SocketAddr> {
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}
