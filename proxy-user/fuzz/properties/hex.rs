//! Hex, and what `foreword decode` says of the bytes.

use foreword::header::{Limits, Versions};
use foreword::inspect::decoded::{Decoded, Input};
use foreword::inspect::hex::{self, HexError};

/// Checks one input: as text that is hex or not, and as bytes.
pub fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        check_text(text);
    }
    check_forms(data);
    check_account(data);
}

/// What can be read is what can be written; what can't is pointed at.
fn check_text(text: &str) {
    match hex::parse(text) {
        Ok(bytes) => {
            assert!(bytes.len() * 2 <= text.len());
            assert_eq!(hex::parse(&written(&bytes, "", "")).as_ref(), Ok(&bytes));
        }
        Err(error) => {
            let (HexError::NoDigit { place, .. } | HexError::Odd { place }) = error;
            let there = text.chars().nth(place - 1).expect("a place within the text");
            match error {
                HexError::NoDigit { found, .. } => assert_eq!(there, found),
                HexError::Odd { .. } => assert!(there.is_ascii_hexdigit()),
            }
            super::words::check_line(&error.to_string());
        }
    }
}

/// Bytes are the same bytes in every form in which people copy them.
fn check_forms(bytes: &[u8]) {
    for (before, between) in
        [("", ""), ("", " "), ("", ":"), ("0x", ", "), ("\\x", ""), ("", "\n"), ("0X", "")]
    {
        let text = written(bytes, before, between);
        assert_eq!(hex::parse(&text).as_deref(), Ok(bytes), "{before:?} {between:?}");
    }
}

fn written(bytes: &[u8], before: &str, between: &str) -> String {
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{before}{byte:02x}")).collect();
    bytes.join(between)
}

/// Whatever the bytes are, what is said of them is no terminal's command, and valid JSON.
fn check_account(bytes: &[u8]) {
    let limits = Limits { max_header: Limits::HIGHEST_MAX, versions: Versions::ALL };
    let decoded = Decoded::of(Input { bytes, more: false }, limits);
    let text = decoded.to_string();
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    let json = serde_json::to_string(&decoded).expect("plain data");
    serde_json::from_str::<serde_json::Value>(&json).expect("JSON");
}
