//! Connections that are open, as a table.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::Duration;

use humantime::format_duration;

use super::table::table;
use crate::operate::report::connections::Connection;

/// One line for each connection, the oldest first.
pub fn list(mut connections: Vec<Connection>) -> String {
    connections.sort_by_key(|connection| Reverse(connection.age_ms));
    let head = ["RULE", "STATE", "CLIENT", "DESTINATION", "UPSTREAM", "IN", "OUT", "AGE", "RTT"];
    table(head, connections.iter().map(cells))
}

fn cells(connection: &Connection) -> [String; 9] {
    let word = |address: Option<SocketAddr>| address.map_or("-".to_owned(), |at| at.to_string());
    let number = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
    let rtt = connection.rtt_us.map_or("-".to_owned(), |us| format!("{us} µs"));
    // Nobody reads a connection's age in milliseconds.
    let age = format_duration(Duration::from_secs(connection.age().as_secs())).to_string();
    [
        connection.rule.clone().unwrap_or_else(|| "-".to_owned()),
        connection.state.clone(),
        word(connection.client.or(connection.peer)),
        word(connection.destination),
        word(connection.upstream),
        number(connection.bytes_in),
        number(connection.bytes_out),
        age,
        rtt,
    ]
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
    fn a_connection_is_one_line() {
        let text = list(vec![connection()]);
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let line: &Vec<_> = &lines[1];
        let expected = [
            "web",
            "relaying",
            "203.0.113.7:5000",
            "[fd00::1]:443",
            "-",
            "17",
            "-",
            "1m",
            "1s",
            "-",
        ];
        assert_eq!(line, &expected);
    }
}
