//! Every configuration below `scripts` is one that `foreword check` accepts.

use std::fs;
use std::path::{Path, PathBuf};

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

#[test]
fn shipped_configurations_are_valid() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let found = configurations(&scripts);
    assert!(found.len() >= 5, "{found:?}");
    for path in found {
        let run = foreword(&["check", path.to_str().unwrap()], b"");
        assert_eq!(run.code, 0, "{}: {}{}", path.display(), run.stdout, run.stderr);
    }
}
