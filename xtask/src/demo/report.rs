//! What the demo prints: who did what, what came of it, and whether that is as it should be.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, bail};
use console::{Style, style};

/// Longest part of received bytes that is shown.
const SHOWN_BYTES: usize = 128;

/// Width of the column that names the place.
const PLACE: usize = 8;

/// A remark.
pub fn remark(text: &str) {
    println!("\n  {text}");
}

/// A command, as it would be typed at a place of the lab.
pub fn command(place: &str, line: &str) {
    println!("\n  {} {}", style(format!("{place:<PLACE$} $")).cyan(), style(line).bold());
}

/// What came back from a command.
pub fn output(lines: &str) {
    for line in lines.lines() {
        println!("  {:<PLACE$}   {line}", "");
    }
}

/// What a place received: its first bytes in hexadecimal and as text.
pub fn bytes(place: &str, bytes: &[u8]) {
    println!("  {} received {} bytes", style(format!("{place:<PLACE$} <")).cyan(), bytes.len());
    let dim = Style::new().dim();
    for line in hex_dump(&bytes[..bytes.len().min(SHOWN_BYTES)]) {
        println!("  {:<PLACE$}   {}", "", dim.apply_to(line));
    }
    if bytes.len() > SHOWN_BYTES {
        println!("  {:<PLACE$}   … and {} more", "", bytes.len() - SHOWN_BYTES);
    }
}

/// What a place received, in words.
pub fn received(place: &str, what: &str) {
    println!("  {} {what}", style(format!("{place:<PLACE$} <")).cyan());
}

/// The account of one demo: what was checked, and with what result.
#[derive(Default)]
pub struct Report {
    stages: u32,
    passed: u32,
    failed: Vec<String>,
}

impl Report {
    /// Begins a stage.
    pub fn stage(&mut self, title: &str) {
        self.stages += 1;
        println!("\n{}", style(format!("{}. {title}", self.stages)).bold());
    }

    /// Whether something is as it should be.
    pub fn check(&mut self, holds: bool, claim: &str) {
        if holds {
            self.passed += 1;
            println!("  {} {claim}", style("✓").green());
        } else {
            self.failed.push(format!("{}. {claim}", self.stages));
            println!("  {} {claim}", style("✗").red().bold());
        }
    }

    /// The last lines; an error if anything was not as it should be.
    pub fn conclude(&self, took: Duration) -> Result<()> {
        if self.failed.is_empty() {
            let seconds = took.as_secs_f32();
            let line = format!("✓ all {} checks hold ({seconds:.0} s)", self.passed);
            println!("\n{}", style(line).green().bold());
            return Ok(());
        }
        println!("\n{}", style(format!("{} checks hold; not:", self.passed)).bold());
        for claim in &self.failed {
            println!("  {} {claim}", style("✗").red().bold());
        }
        bail!("{} checks of the demo failed", self.failed.len())
    }
}

/// Lines of 16 bytes: offset, hexadecimal, text.
fn hex_dump(bytes: &[u8]) -> Vec<String> {
    let printable = |byte: u8| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' };
    let line = |(number, chunk): (usize, &[u8])| {
        let mut hex = String::new();
        for (i, byte) in chunk.iter().enumerate() {
            let gap = if i == 8 { " " } else { "" };
            let _ = write!(hex, "{gap}{byte:02x} ");
        }
        let text: String = chunk.iter().copied().map(printable).collect();
        format!("{:04x}  {hex:<50}|{text}|", number * 16)
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hex_dump_lines_up() {
        let lines = hex_dump(b"PROXY TCP4 10.77.1.2\r\n");
        let first = "0000  50 52 4f 58 59 20 54 43  50 34 20 31 30 2e 37 37  |PROXY TCP4 10.77|";
        assert_eq!(lines[0], first);
        assert_eq!(lines[1], format!("0010  {:<50}|.1.2..|", "2e 31 2e 32 0d 0a "));
    }

    #[test]
    fn a_failed_check_fails_the_demo() {
        let mut report = Report::default();
        report.check(true, "holds");
        assert!(report.conclude(Duration::ZERO).is_ok());
        report.check(false, "does not");
        assert!(report.conclude(Duration::ZERO).is_err());
    }
}
