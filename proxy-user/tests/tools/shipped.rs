//! Every configuration below `scripts`, and each that a document shows, is one that `foreword check`
//! accepts.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::foreword;

fn configurations(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => configurations(&path),
            false if path.ends_with("config.yaml") => vec![path],
            false => Vec::new(),
        })
        .collect()
}

fn repository() -> PathBuf {
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
    for document in ["README.md", "docs/install.md"] {
        let text = fs::read_to_string(repository().join(document)).unwrap();
        let configurations = shown(&text);
        assert!(!configurations.is_empty(), "{document} shows none");
        for (number, configuration) in configurations.iter().enumerate() {
            let name = format!("{}-{number}.yaml", document.replace('/', "-"));
            let path = folder.path().join(name);
            fs::write(&path, configuration).unwrap();
            assert_valid(&path);
        }
    }
}
