//! What is generated from the command line: the reference of all options, completions, man pages.

use std::path::Path;
use std::{env, fs};

use tempfile::TempDir;

use crate::foreword;
use crate::shipped::repository;

#[track_caller]
fn generate(what: &[&str]) -> String {
    let run = foreword(&[&["generate"], what].concat(), b"");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{what:?}");
    run.stdout
}

#[test]
fn the_reference_of_all_options_is_current() {
    let current = generate(&["reference"]);
    let path = repository().join("docs/configuration.md");
    if env::var_os("BLESS").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == current, "docs/configuration.md is not current; BLESS=1 rewrites it");
}

/// The flags that a text names.
fn flags(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| c.is_whitespace() || "`,[]<>".contains(c));
    let mut flags: Vec<_> = words.filter(|word| word.starts_with("--")).collect();
    flags.sort_unstable();
    flags.dedup();
    flags
}

#[test]
fn the_reference_has_every_flag_and_every_key() {
    let reference = generate(&["reference"]);
    for command in ["attach", "run"] {
        let help = foreword(&[command, "-h"], b"").stdout;
        let named = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let named: Vec<_> = named.flat_map(flags).filter(|flag| *flag != "--help").collect();
        assert!(named.len() > 2, "{help}");
        for flag in named {
            assert!(flags(&reference).contains(&flag), "{flag} of {command} is not documented");
        }
    }
    let schema = foreword(&["schema"], b"").stdout;
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    for section in [&schema, &schema["$defs"]["RawInbound"], &schema["$defs"]["RawUpstream"]] {
        for (key, value) in section["properties"].as_object().unwrap() {
            let is_section = value.get("$ref").is_some() || key == "rules";
            let heading = format!("{key}`\n");
            assert!(is_section || reference.contains(&heading), "{key} is not documented");
        }
    }
}

#[test]
fn shells_complete_commands_flags_and_values() {
    for shell in ["bash", "zsh", "fish"] {
        let script = generate(&["completions", shell]);
        for word in ["attach", "fast-open", "optional"] {
            assert!(script.contains(word), "{word} is not completed in {shell}");
        }
    }
    assert_eq!(foreword(&["generate", "completions", "ksh"], b"").code, 2);
}

#[test]
fn each_command_has_a_man_page() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path().join("man");
    generate(&["man", folder.to_str().unwrap()]);
    let page = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let help = foreword(&["--help"], b"").stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let named = commands.filter_map(|line| line.strip_prefix("  ")?.split_once(' '));
    let named: Vec<_> = named.map(|(name, _)| name).filter(|name| !name.is_empty()).collect();
    assert!(named.contains(&"attach") && named.contains(&"doctor"), "{named:?}");
    for name in named.into_iter().filter(|name| *name != "help") {
        assert!(page(&format!("foreword-{name}.1")).contains(".SH DESCRIPTION"), "{name}");
    }
    assert!(page("foreword-attach.1").contains("fast\\-open"));
    assert!(!Path::new(&folder).join("foreword-generate.1").exists());
}
