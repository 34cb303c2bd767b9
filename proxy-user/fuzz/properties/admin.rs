//! The admin protocol: any bytes in place of a line.

use foreword::operate::admin::protocol::{Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::words::check_line;

/// Checks one input: as a question, and as an answer.
pub fn check(data: &[u8]) {
    match Request::read(data) {
        Ok(ask) => check_line_again(&ask, Request::read),
        Err(refusal) => check_line(&refusal.to_string()),
    }
    if let Ok(answer) = Response::read(data) {
        check_line_again(&answer, Response::read);
    }
}

/// What was understood is written as one line, which is understood in the same way.
fn check_line_again<T, E>(message: &T, read: fn(&[u8]) -> Result<T, E>)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    E: std::fmt::Display,
{
    let line = serde_json::to_vec(message).expect("it can be written");
    assert!(!line.contains(&b'\n'), "a message of several lines");
    match read(&line) {
        Ok(again) => assert_eq!(again, *message),
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&line)),
    }
}
