//! How far a rule's cut-over is, as text.

use std::time::Duration;

use humantime::format_duration;

use super::table::table;
use crate::operate::report::cutover::{Cutover, Source, name};
use crate::policy::cutover::MINUTES;

/// The verdict, and a line for each source.
pub fn describe(cutover: &Cutover) -> String {
    let Cutover { rule, mode, says, sources, .. } = cutover;
    let mut text = format!("rule {rule} ({mode}): {says}\n");
    if !sources.is_empty() {
        let with = format!("WITH ({MINUTES}m)");
        let without = format!("WITHOUT ({MINUTES}m)");
        let head = ["SOURCE", &with, &without, "FIRST WITH", "LAST WITHOUT"];
        let table = table(head, sources.iter().map(cells));
        text.extend(table.lines().flat_map(|line| ["  ", line, "\n"]));
    }
    text
}

fn cells(source: &Source) -> [String; 5] {
    let ago = |seconds: Option<u64>| {
        seconds.map_or("never".to_owned(), |seconds| {
            format!("{} ago", format_duration(Duration::from_secs(seconds)))
        })
    };
    [
        name(source.source),
        source.with.to_string(),
        source.without.to_string(),
        ago(source.first_with),
        ago(source.last_without),
    ]
}

#[cfg(test)]
mod tests {
    use crate::operate::report::cutover::CutoverState;

    use super::*;

    #[test]
    fn each_source_has_a_line() {
        let source = |last: u8, without, last_without| Source {
            source: Some([10, 0, 0, last].into()),
            with: 1,
            without,
            first_with: Some(60),
            last_without,
        };
        let text = describe(&Cutover {
            rule: "web".to_owned(),
            mode: "optional".to_owned(),
            verdict: CutoverState::InBetween,
            says: "in between".to_owned(),
            sources: vec![source(1, 0, None), source(2, 1, Some(60))],
        });
        assert!(text.starts_with("rule web (optional): in between\n"), "{text}");
        assert!(text.contains("10.0.0.1  1           0              1m ago      never"), "{text}");
        assert!(text.contains("10.0.0.2  1           1              1m ago      1m ago"), "{text}");
    }
}
