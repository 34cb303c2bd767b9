//! A report for a person to read.

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, Width, presets};

use crate::operate::doctor::{Finding, Report, Section, Severity};

/// The severity, the check, and the words.
const COLUMNS: [u16; 3] = [11, 16, 73];

/// The sections, and what they come to.
pub fn describe(report: &Report) -> String {
    let mut text = String::new();
    for section in &report.sections {
        text.push_str(&section.about);
        text.push('\n');
        text.push_str(&table(section));
        text.push('\n');
    }
    text.push_str(&conclusion(report));
    text.push('\n');
    text
}

fn table(section: &Section) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(COLUMNS.iter().sum()).add_rows(section.findings.iter().map(row));
    for (column, width) in table.column_iter_mut().zip(COLUMNS) {
        column.set_padding((0, 1));
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

fn row(finding: &Finding) -> Row {
    let mut words = finding.what.clone();
    if let Some(fix) = &finding.fix {
        words.push_str("\nto do: ");
        words.push_str(fix);
    }
    Row::from([format!("  {}", finding.severity), finding.check.to_owned(), words])
}

fn conclusion(report: &Report) -> String {
    let count = |severity, what: &str| {
        let count = report.findings().filter(|finding| finding.severity == severity).count();
        match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{count} {what}s")),
        }
    };
    let counts = [
        count(Severity::Fatal, "obstacle"),
        count(Severity::Warning, "warning"),
        count(Severity::Note, "note"),
    ];
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    let so = match report.severity {
        Severity::Ok => return "fit for Foreword".to_owned(),
        Severity::Note => "fit for Foreword",
        Severity::Warning => "fit for Foreword, but not for all of it, or not well",
        Severity::Fatal => "not fit for Foreword",
    };
    format!("{so}: {}", counts.join(", "))
}

#[cfg(test)]
mod tests {
    use crate::operate::doctor::intent::Intent;
    use crate::operate::doctor::judge;
    use crate::operate::doctor::tests::{broken, broken_interface, healthy, hidden, program, set};
    use crate::steer::survey::programs::TcHook;

    use super::*;

    #[test]
    fn a_healthy_node_is_fit() {
        let report = judge(&healthy(), &Intent::default());
        assert!(describe(&report).ends_with("\nfit for Foreword\n"));
    }

    #[test]
    fn what_others_have_named_breaks_no_line() {
        let name = "a\nb\u{1b}[2J";
        let report = broken_interface(|nic| {
            nic.name = name.to_owned();
            nic.ingress.tcx = Ok(vec![program(name, TcHook::Tcx)]);
        });
        let text = describe(&report);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.contains(r"interface a\nb\u{1b}[2J"), "{text}");
    }

    #[test]
    fn a_report_is_read_from_the_top_to_its_conclusion() {
        let report = broken(|facts| {
            facts.settings.syncookies = set("0");
            facts.survey.features.veth = hidden();
        });
        let text = describe(&report);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.first(), Some(&"kernel"), "{text}");
        assert_eq!(lines[1], "  ok       kernel          Linux 6.12.3-cloud-amd64");
        let at = lines.iter().position(|line| line.starts_with("  warning  syncookies"));
        let fix = lines[at.expect("a line of its own") + 1];
        assert_eq!(fix.trim_start(), "to do: sysctl net.ipv4.tcp_syncookies=1");
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{text}");
        let conclusion = "fit for Foreword, but not for all of it, or not well: 1 warning, 1 note";
        assert_eq!(lines.last(), Some(&conclusion), "{text}");
        let many = broken(|facts| {
            facts.survey.features.sk_lookup = Ok(false);
            facts.survey.features.redirect_peer = Ok(false);
        });
        assert!(describe(&many).ends_with("\nnot fit for Foreword: 2 obstacles\n"));
    }
}
