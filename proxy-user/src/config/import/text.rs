//! An import as a file: YAML, with what is to be said of it in comments.

use std::fmt;

use super::Import;
use super::counterpart::Note;
use super::join::Rule;
use crate::config::settings::Mode;
use crate::header::Version;

/// Longest line with a comment.
const WIDTH: usize = 100;
const COMPLETE: &str = "By `foreword import`.";
const INCOMPLETE: &str = "By `foreword import`. Complete what is marked FILL IN, then run \
                          `foreword check` on it.";
/// What everybody looks for who has to complete the file.
const BLANK: &str = "FILL IN";

pub(super) fn write(import: &Import, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Import { accounts, interfaces, rules } = import;
    comment(f, "", if import.is_complete() { COMPLETE } else { INCOMPLETE })?;
    for account in accounts {
        writeln!(f, "#")?;
        comment(f, "", &format!("{}: {}.", account.heading, account.outcome))?;
        for Note { paths, instead } in &account.notes {
            wrapped(f, "#  ", "#    ", &format!("{}: {instead}.", paths.join(", ")))?;
        }
    }
    writeln!(f)?;
    let where_from = "where the load balancer's connections arrive, such as [eth0]";
    list(f, "", "interfaces", interfaces, where_from)?;
    writeln!(f, "rules:")?;
    rules.iter().try_for_each(|rule| write_rule(f, rule))
}

fn write_rule(f: &mut fmt::Formatter<'_>, rule: &Rule) -> fmt::Result {
    comment(f, "  ", &format!("{}.", rule.origin))?;
    writeln!(f, "  - name: {}", scalar(&rule.name))?;
    list(f, "    ", "ports", &rule.ports, &format!("{}, such as [80, 443]", rule.on_ports))?;
    writeln!(f, "    inbound:")?;
    if let Some(on_mode) = rule.on_mode {
        comment(f, "      ", on_mode)?;
    }
    writeln!(f, "      mode: {}", rule.mode)?;
    if rule.mode != Mode::Off {
        list(f, "      ", "trusted", &rule.trusted, TRUSTED)?;
    }
    if rule.mode == Mode::Optional {
        comment(f, "      ", UNTRUSTED)?;
        writeln!(f, "      untrusted: direct")?;
    }
    writeln!(f, "    outbound:")?;
    comment(f, "      ", &format!("{}.", rule.on_version))?;
    let version = rule.version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    writeln!(f, "      version: {version}")?;
    if rule.version == Some(Version::V2) {
        comment(f, "      ", TLVS)?;
        writeln!(f, "      tlvs: {{ pass: none }}")?;
    }
    if let Some(on_upstream) = &rule.on_upstream {
        writeln!(f, "    upstream:")?;
        comment(f, "      ", &format!("{on_upstream}."))?;
        writeln!(f, "      address: original")?;
        if let Some(time) = &rule.connect_timeout {
            writeln!(f, "      connectTimeout: {}", scalar(time))?;
        }
    }
    Ok(())
}

const TRUSTED: &str = "who sends headers: the load balancers, such as [10.0.0.0/24]. kgateway \
                       believes everybody; to do the same, write [\"0.0.0.0/0\", \"::/0\"]";

const TLVS: &str = "As in kgateway. Leave this out to pass the load balancer's TLVs on.";
const UNTRUSTED: &str = "Others are served without a header, and refused with one. Write refuse to \
                         turn them away.";

/// A list, with what belongs there if it is blank.
fn list(
    f: &mut fmt::Formatter<'_>,
    indent: &str,
    key: &str,
    words: &[String],
    blank: &str,
) -> fmt::Result {
    if words.is_empty() {
        comment(f, indent, &format!("{BLANK}: {blank}."))?;
    }
    let words: Vec<_> = words.iter().map(|word| scalar(word)).collect();
    writeln!(f, "{indent}{key}: [{}]", words.join(", "))
}

/// A word as YAML: plain if it can't be taken for anything else.
fn scalar(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let special = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    if word.starts_with(|c: char| c.is_ascii_alphanumeric())
        && word.chars().all(plain)
        && !special.contains(&word.to_ascii_lowercase().as_str())
    {
        word.to_owned()
    } else {
        format!("\"{}\"", word.chars().map(quoted).collect::<String>())
    }
}

fn quoted(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        ' ' => c.to_string(),
        _ if c.is_ascii_graphic() => c.to_string(),
        _ => format!("\\U{:08x}", u32::from(c)),
    }
}

/// Lines of comment. Text of documents can be in it, and can't end it: a line break is a space.
fn comment(f: &mut fmt::Formatter<'_>, indent: &str, text: &str) -> fmt::Result {
    wrapped(f, &format!("{indent}#"), &format!("{indent}#"), text)
}

/// Words after `first`, on further lines after `others`.
fn wrapped(f: &mut fmt::Formatter<'_>, first: &str, others: &str, text: &str) -> fmt::Result {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let word = word.replace(char::is_control, "\u{fffd}");
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(f, "{line}")?;
            others.clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(&word);
        is_empty = false;
    }
    writeln!(f, "{line}")
}
