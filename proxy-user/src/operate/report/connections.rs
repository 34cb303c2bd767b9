//! Connections that are open: what the process knows of them, and what the kernel does.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::{Cidr, ClientAddr, UpstreamAddr};
use crate::relay::OpenConnection;

/// A connection that is open. Addresses are words: they are only shown.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Connection {
    /// Its rule; `None`: the process is gone that would know.
    pub rule: Option<String>,
    /// How far it is: opening, connecting or relaying; or the state of TCP, if only that is known.
    pub state: String,
    /// Who the upstream is told has connected.
    pub client: Option<SocketAddr>,
    /// Who has connected to us.
    pub peer: Option<SocketAddr>,
    /// To what.
    pub destination: Option<SocketAddr>,
    /// Where it goes.
    pub upstream: Option<SocketAddr>,
    /// Payload from the client.
    pub bytes_in: Option<u64>,
    /// Payload to the client.
    pub bytes_out: Option<u64>,
    /// Since it was accepted.
    pub age_ms: u64,
    /// Round-trip time to the peer when last noted, in microseconds.
    pub rtt_us: Option<u64>,
}

impl Connection {
    /// One that a worker knows, with what the kernel noted of it.
    pub fn new(connection: OpenConnection, rtt: Option<Duration>) -> Self {
        let number = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            rule: Some(connection.rule),
            state: connection.stage.name().to_owned(),
            client: connection.client.map(ClientAddr::get),
            peer: Some(connection.peer.get()),
            destination: Some(connection.destination.get()),
            upstream: connection.upstream.map(UpstreamAddr::get),
            bytes_in: Some(connection.bytes.0),
            bytes_out: Some(connection.bytes.1),
            age_ms: number(connection.age.as_millis()),
            rtt_us: rtt.map(|rtt| number(rtt.as_micros())),
        }
    }
}

/// Which connections are wanted: those that meet all that is given.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this rule.
    pub rule: Option<String>,
    /// Whose client, or whose peer if there is no other, is in this range.
    pub client: Option<Cidr>,
    /// Whose original destination has this port.
    pub port: Option<u16>,
    /// At least so old.
    pub older: Option<Duration>,
}

impl Filter {
    /// Whether it is wanted.
    pub fn matches(&self, connection: &Connection) -> bool {
        let client = connection.client.or(connection.peer);
        self.rule.as_ref().is_none_or(|rule| connection.rule.as_ref() == Some(rule))
            && self.client.is_none_or(|range| client.is_some_and(|at| range.contains(at.ip())))
            && self
                .port
                .is_none_or(|port| connection.destination.is_some_and(|at| at.port() == port))
            && self.older.is_none_or(|age| connection.age() >= age)
    }
}

impl Connection {
    /// Since it was accepted.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.age_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection {
            rule: Some("web".to_owned()),
            state: "relaying".to_owned(),
            client: "203.0.113.7:5000".parse().ok(),
            peer: "10.0.0.1:4000".parse().ok(),
            destination: "[fd00::1]:443".parse().ok(),
            bytes_in: Some(17),
            age_ms: 61_500,
            ..Connection::default()
        }
    }

    #[test]
    fn all_that_is_given_must_be_met() {
        let matches = |filter: Filter| filter.matches(&connection());
        let range = |text: &str| text.parse::<Cidr>().ok();
        assert!(matches(Filter::default()));
        assert!(matches(Filter {
            rule: Some("web".to_owned()),
            port: Some(443),
            ..Filter::default()
        }));
        assert!(!matches(Filter { rule: Some("mail".to_owned()), ..Filter::default() }));
        assert!(matches(Filter { client: range("203.0.113.0/24"), ..Filter::default() }));
        assert!(!matches(Filter { client: range("10.0.0.0/8"), ..Filter::default() }), "the peer");
        assert!(!matches(Filter { port: Some(80), ..Filter::default() }));
        assert!(!matches(Filter { older: Some(Duration::from_secs(62)), ..Filter::default() }));
    }

    #[test]
    fn one_whose_client_is_not_known_is_found_by_its_peer() {
        let early = Connection { client: None, ..connection() };
        let filter = Filter { client: "10.0.0.0/8".parse().ok(), ..Filter::default() };
        assert!(filter.matches(&early));
    }
}
