//! An instance that does not answer, as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::operate::report::pinned::Leftover;

/// Whether its process is there, and what it counted.
pub fn describe(leftover: &Leftover) -> String {
    let Leftover { instance, is_alive, packets, refused, dropped_packets, open } = leftover;
    let mut text = format!("instance {instance}: ");
    text.push_str(if *is_alive {
        "runs, and does not answer here; --socket names its place\n"
    } else {
        "its process is gone; `foreword cleanup` removes what it has left\n"
    });
    let mut line = |what: &str, counts: &BTreeMap<String, u64>| {
        let words: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        if !words.is_empty() {
            let _ = writeln!(text, "{what:<11} {}", words.join(", "));
        }
    };
    line("refused", refused);
    line("dropped", dropped_packets);
    line("packets", packets);
    let _ = writeln!(text, "{:<11} {open} connections when last noted", "open");
    text
}
