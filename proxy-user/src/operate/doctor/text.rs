//! A report for a person to read.

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, Width, presets};

use super::{Finding, Report, Section, Verdict};

/// The verdict, the check, and the words.
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
    if let Some(mend) = &finding.mend {
        words.push_str("\nto do: ");
        words.push_str(mend);
    }
    Row::from([format!("  {}", finding.verdict), finding.check.to_owned(), words])
}

fn conclusion(report: &Report) -> String {
    let count = |verdict, what: &str| {
        let count = report.findings().filter(|finding| finding.verdict == verdict).count();
        match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{count} {what}s")),
        }
    };
    let counts = [
        count(Verdict::Fatal, "obstacle"),
        count(Verdict::Warning, "warning"),
        count(Verdict::Note, "note"),
    ];
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    let so = match report.verdict {
        Verdict::Ok => return "fit for Foreword".to_owned(),
        Verdict::Note => "fit for Foreword",
        Verdict::Warning => "fit for Foreword, but not for all of it, or not well",
        Verdict::Fatal => "not fit for Foreword",
    };
    format!("{so}: {}", counts.join(", "))
}
