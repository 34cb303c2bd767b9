//! Every configuration below `scripts`, and each that a document shows, is one that `foreword check`
//! accepts. What they trust is as narrow as it should be where they are copied to.

use std::fs;
use std::path::{Path, PathBuf};

use foreword::address::Cidr;
use tempfile::TempDir;

use crate::foreword;

pub fn configurations(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => configurations(&path),
            false if path.ends_with("config.yaml") => vec![path],
            false => Vec::new(),
        })
        .collect()
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[track_caller]
fn assert_valid(path: &Path) {
    let run = foreword(&["check", path.to_str().unwrap()], b"");
    assert_eq!(run.code, 0, "{}: {}{}", path.display(), run.stdout, run.stderr);
}

/// Whole configurations, and rules, which get what they lack. What is abridged (…) shows something
/// else.
fn shown(document: &str) -> Vec<String> {
    let blocks = document.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let blocks = blocks.filter(|block| !block.contains('…'));
    blocks
        .filter_map(|block| match block {
            _ if block.starts_with("interfaces:") => Some(block.to_owned()),
            _ if block.starts_with("  - name:") => {
                Some(format!("interfaces: [eth0]\nrules:\n{block}"))
            }
            _ => None,
        })
        .collect()
}

/// The README and every page of the manual.
fn documents() -> Vec<PathBuf> {
    let pages = fs::read_dir(repository().join("docs")).unwrap();
    let pages = pages.map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.chain([repository().join("README.md")]).collect()
}

/// What users copy from.
fn texts() -> Vec<(PathBuf, String)> {
    let all = documents().into_iter().chain(configurations(&repository().join("scripts")));
    all.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The address ranges that a line of an example trusts.
fn trusted(line: &str) -> impl Iterator<Item = Cidr> {
    let words = ["trusted:", "--trust ", "trusted_ips ="];
    let rest = words.iter().find_map(|word| Some(line.split_once(word)?.1)).unwrap_or_default();
    let is_part = |c: char| c.is_ascii_hexdigit() || ".:/".contains(c);
    rest.split(move |c| !is_part(c))
        .filter(|word| word.contains('/'))
        .filter_map(|it| it.parse().ok())
}

/// All of a private range is every node and pod of most networks. Everybody, written out, is a choice.
fn is_too_wide(range: Cidr) -> bool {
    let narrowest = if range.address().is_ipv4() { 16 } else { 48 };
    (1..narrowest).contains(&range.prefix_length())
}

#[test]
fn examples_trust_load_balancers_and_not_whole_networks() {
    let mut seen = 0;
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            for range in trusted(line) {
                seen += 1;
                assert!(!is_too_wide(range), "{}:{}: {range}", path.display(), number + 1);
            }
        }
    }
    assert!(seen >= 10, "only {seen} ranges were found");
    let wide: Vec<_> =
        trusted("inbound: { mode: require, trusted: [10.0.0.0/8, fd00::/8] }").collect();
    assert!(wide.len() == 2 && wide.into_iter().all(is_too_wide));
}

#[test]
fn refusals_show_narrow_ranges() {
    let plain = ["attach", "eth0", "--port", "1", "--inbound", "require", "--outbound", "none"];
    let no_trust = foreword(&plain, b"").stderr;
    let bad = [&plain[..], &["--trust", "10.0.0/8"]].concat();
    for said in [no_trust, foreword(&bad, b"").stderr] {
        let ranges: Vec<Cidr> = said
            .split(|c: char| c.is_whitespace() || ",;'".contains(c))
            .filter_map(|word| word.parse().ok())
            .collect();
        assert!(!ranges.is_empty() && !ranges.into_iter().any(is_too_wide), "{said}");
    }
}

#[test]
fn shipped_configurations_are_valid() {
    let found = configurations(&repository().join("scripts"));
    assert!(found.len() >= 5, "{found:?}");
    for path in found {
        assert_valid(&path);
    }
}

#[test]
fn documents_show_valid_configurations() {
    let folder = TempDir::new().unwrap();
    let mut seen = 0;
    for document in documents() {
        let document_name = document.file_name().unwrap().to_string_lossy().into_owned();
        for configuration in shown(&fs::read_to_string(document).unwrap()) {
            let path = folder.path().join(format!("{document_name}-{seen}.yaml"));
            fs::write(&path, configuration).unwrap();
            assert_valid(&path);
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} configurations were found");
}
