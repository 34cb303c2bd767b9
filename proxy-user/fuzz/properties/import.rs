//! Import: any stream of documents, made into a configuration.
//!
//! An input is what `foreword import` reads.

use foreword::config::import::{Blanks, Import, Reader};
use foreword::config::raw::RawRule;
use foreword::config::{Invalid, RawConfig, Syntax, file, validate};

use super::words::check_line;

/// Checks one input.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut reader = Reader::default();
    if let Err(bad) = reader.read("input", text) {
        return check_line(&bad.to_string());
    }
    let mut import = reader.finish();
    if !import.has_rules() {
        return;
    }
    let blank = check_written(&import);
    if !import.is_complete() {
        validate(&blank, Syntax::File).expect_err("a blank is refused");
    }
    import.fill(blanks(&blank)).expect("blanks are what can be filled in");
    assert!(import.is_complete());
    check_valid(&check_written(&import));
}

/// What is written is a file, whatever the documents have named.
fn check_written(import: &Import) -> RawConfig {
    let written = import.to_string();
    written.lines().filter(|line| !line.is_empty()).for_each(check_line);
    file::parse(&written).unwrap_or_else(|error| panic!("{error}:\n{written}"))
}

/// Everything that a file leaves blank, with a port of its own for each rule.
fn blanks(raw: &RawConfig) -> Blanks {
    let open = raw.rules.iter().filter(|rule| rule.ports.is_empty());
    let is_off = |rule: &RawRule| rule.inbound.mode.as_deref() == Some("off");
    let reads = !raw.rules.iter().all(is_off);
    let name = |rule: &RawRule| rule.name.as_deref().expect("an import names its rules").to_owned();
    Blanks {
        interfaces: vec!["eth0".to_owned()],
        ports: open.zip(60_000..).map(|(rule, port)| format!("{}={port}", name(rule))).collect(),
        trusted: if reads { vec!["10.0.0.0/28".to_owned()] } else { Vec::new() },
    }
}

/// It says what the documents do. These can ask for one port twice, and for nothing else that makes
/// no sense.
fn check_valid(raw: &RawConfig) {
    match validate(raw, Syntax::File) {
        Ok(settings) => assert_eq!(settings.rules.len(), raw.rules.len()),
        Err(Invalid::Value { field, .. }) if field.ends_with("ports") => {}
        Err(invalid) => panic!("{invalid}"),
    }
}
