//! What an upstream did with a connection, and what kind of answer that is.
//!
//! Two answers to the same question are never the same bytes: dates, session ids and keys differ.
//! So they are compared by [`Kind`].

use std::fmt;

use super::hello;

/// Lines of a text that are compared.
const LINES: usize = 8;
/// First bytes of binary data that are compared.
const BINARY: usize = 5;
/// Characters of a reply's first line that are shown.
const SHOWN: usize = 60;

/// What came back on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The upstream's bytes, possibly none.
    pub bytes: Vec<u8>,
    /// What it did then.
    pub end: ReplyEnd,
}

/// What an upstream did after its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyEnd {
    /// It kept the connection for as long as we looked.
    Open,
    /// It closed the connection.
    Closed,
    /// It reset the connection.
    Reset,
}

/// What kind of answer it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None: no byte came. How the connection ended says little: whether a refusal shows as a
    /// close or as a reset depends on the timing of our own bytes.
    Nothing,
    /// HTTP with this status.
    Http(u16),
    /// A TLS handshake record: the server's hello.
    TlsHandshake,
    /// A TLS alert with this description, if it was readable.
    TlsAlert(Option<u8>),
    /// Text: the first word of each line (of a numeric code the digits only), and whether the
    /// connection was kept.
    Text(Vec<String>, bool),
    /// Other bytes: the first few, how many there are, and whether the connection was kept.
    Binary(Vec<u8>, usize, bool),
}

impl Reply {
    /// The answer's kind.
    pub fn kind(&self) -> Kind {
        let is_open = self.end == ReplyEnd::Open;
        match self.bytes.as_slice() {
            [] => Kind::Nothing,
            [hello::HANDSHAKE, 3, ..] => Kind::TlsHandshake,
            [hello::ALERT, 3, rest @ ..] => Kind::TlsAlert(rest.get(4).copied()),
            bytes => {
                if let Some(status) = http_status(bytes) {
                    Kind::Http(status)
                } else if is_text(bytes) {
                    let text = String::from_utf8_lossy(bytes);
                    Kind::Text(text.lines().take(LINES).map(first_word).collect(), is_open)
                } else {
                    let first = bytes[..bytes.len().min(BINARY)].to_vec();
                    Kind::Binary(first, bytes.len(), is_open)
                }
            }
        }
    }
}

/// The status of a reply that begins as `HTTP/1.1 200`.
fn http_status(bytes: &[u8]) -> Option<u16> {
    let rest = bytes.strip_prefix(b"HTTP/")?;
    let space = rest.iter().position(|&byte| byte == b' ')?;
    let status = rest.get(space + 1..space + 4)?;
    let is_number = status.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(status).ok()?.parse().ok())?
}

fn is_text(bytes: &[u8]) -> bool {
    let is_texts = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    bytes.iter().all(is_texts)
}

/// `220` of `220-mail.example.org`, `+OK` of `+OK ready <17.42@example.org>`.
fn first_word(line: &str) -> String {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    match digits {
        3 => line[..3].to_owned(),
        _ => line.split_whitespace().next().unwrap_or_default().to_owned(),
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no reply"),
            Self::Http(status) => write!(f, "HTTP {status}"),
            Self::TlsHandshake => f.write_str("a TLS handshake"),
            Self::TlsAlert(None) => f.write_str("a TLS alert"),
            Self::TlsAlert(Some(alert)) => write!(f, "TLS alert {alert}{}", alert_name(*alert)),
            Self::Text(words, _) => {
                let first = words.first().map_or("", String::as_str);
                write!(f, "\"{}\"", first.as_bytes().escape_ascii())
            }
            Self::Binary(_, length, _) => write!(f, "{length} binary bytes"),
        }
    }
}

/// The alerts that a client's hello meets, and bytes that are none.
const fn alert_name(alert: u8) -> &'static str {
    match alert {
        0 => " (close_notify)",
        10 => " (unexpected_message)",
        22 => " (record_overflow)",
        40 => " (handshake_failure)",
        47 => " (illegal_parameter)",
        50 => " (decode_error)",
        70 => " (protocol_version)",
        71 => " (insufficient_security)",
        80 => " (internal_error)",
        112 => " (unrecognized_name)",
        120 => " (no_application_protocol)",
        _ => "",
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        let end = match self.end {
            ReplyEnd::Open => "left open",
            ReplyEnd::Closed => "closed",
            ReplyEnd::Reset => "reset",
        };
        let count = self.bytes.len();
        match kind {
            Kind::Nothing => write!(f, "no reply, {end}"),
            Kind::Text(..) | Kind::Http(_) => {
                let line = self.bytes.split(|byte| b"\r\n".contains(byte)).next();
                let line = line.unwrap_or_default();
                let shown = line[..line.len().min(SHOWN)].escape_ascii();
                let cut = if line.len() > SHOWN { "…" } else { "" };
                write!(f, "\"{shown}{cut}\", {count} bytes in all, then {end}")
            }
            kind => write!(f, "{kind}, {count} bytes in all, then {end}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8]) -> Reply {
        Reply { bytes: bytes.to_vec(), end: ReplyEnd::Open }
    }

    fn text(words: &[&str]) -> Kind {
        Kind::Text(words.iter().map(|&word| word.to_owned()).collect(), true)
    }

    #[test]
    fn replies_have_kinds() {
        for (bytes, kind) in [
            (&b""[..], Kind::Nothing),
            (b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n\0\x01", Kind::Http(200)),
            (b"HTTP/1.0 400\r\n", Kind::Http(400)),
            (b"HTTP/1.1 2x0 OK\r\n", text(&["HTTP/1.1"])),
            (b"\x16\x03\x03\x00\x7a\x02", Kind::TlsHandshake),
            (b"\x15\x03\x01\x00\x02\x02\x46", Kind::TlsAlert(Some(70))),
            (b"\x15\x03\x01", Kind::TlsAlert(None)),
            (b"\x16\x02", Kind::Binary(vec![0x16, 2], 2, true)),
            (b"220-mx one\r\n220 ESMTP 17\r\n", text(&["220", "220"])),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", text(&["SSH-2.0-OpenSSH_9.2p1"])),
            (b"+PONG\r\n", text(&["+PONG"])),
            (b"\n", text(&[""])),
            (b"J\0\0\0\x0a8.0.36\0\x17", Kind::Binary(b"J\0\0\0\x0a".to_vec(), 13, true)),
        ] {
            assert_eq!(open(bytes).kind(), kind, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_status_is_the_same_however_the_connection_ends_but_a_text_is_not() {
        let closed = |bytes: &[u8]| Reply { bytes: bytes.to_vec(), end: ReplyEnd::Closed };
        let reset = |bytes: &[u8]| Reply { bytes: bytes.to_vec(), end: ReplyEnd::Reset };
        assert_eq!(open(b"HTTP/1.1 200 OK").kind(), closed(b"HTTP/1.1 200 Fine").kind());
        assert_ne!(open(b"220 mx").kind(), closed(b"220 mx").kind());
        assert_eq!(closed(b"220 mx").kind(), reset(b"220 mx").kind());
        assert_eq!(closed(b"").kind(), reset(b"").kind());
    }

    #[test]
    fn replies_in_words() {
        assert_eq!(open(b"").to_string(), "no reply, left open");
        let refused = Reply { bytes: Vec::new(), end: ReplyEnd::Reset };
        assert_eq!(refused.to_string(), "no reply, reset");
        let page = Reply { bytes: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), end: ReplyEnd::Closed };
        assert_eq!(page.to_string(), r#""HTTP/1.1 200 OK", 19 bytes in all, then closed"#);
        let alert = b"\x15\x03\x01\x00\x02\x02\x70";
        let words = "TLS alert 112 (unrecognized_name), 7 bytes in all, then left open";
        assert_eq!(open(alert).to_string(), words);
        let long = open(&[b'a'; 61]).to_string();
        assert_eq!(long, format!("\"{}…\", 61 bytes in all, then left open", "a".repeat(60)));
    }

    #[test]
    fn no_control_character_reaches_a_terminal() {
        let words = open("220 \u{9b}2J\u{202e}".as_bytes()).to_string();
        assert!(words.is_ascii(), "{words}");
        let words = open("\u{9b}2J".as_bytes()).kind().to_string();
        assert_eq!(words, r#""\xc2\x9b2J""#);
    }
}
