//! What is said to people, on a terminal or in a log, is one line of something.

/// Neither empty, nor more than a line, nor anything that a terminal would obey.
pub fn check_line(line: &str) {
    assert!(!line.trim().is_empty(), "nothing is said");
    assert!(!line.contains(char::is_control), "{line:?}");
}
