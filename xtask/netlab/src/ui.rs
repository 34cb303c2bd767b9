//! What the demo, the benchmark and other developer commands tell their user: lines on stderr, with
//! colour on a terminal only.

use console::style;

/// One line about what is going on.
pub fn note(text: &str) {
    eprintln!("{} {text}", style("•").for_stderr().cyan());
}

/// One line about something that works less well than it could.
pub fn warn(text: &str) {
    eprintln!("{} {text}", style("!").for_stderr().yellow());
}

/// One line about something that is now in place.
pub fn done(text: &str) {
    eprintln!("{} {text}", style("✓").for_stderr().green());
}

/// One line about what has ended a command.
pub fn error(error: &anyhow::Error) {
    eprintln!("{} {error:#}", style("error:").for_stderr().red().bold());
}
