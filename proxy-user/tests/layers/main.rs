//! Imports point one way. Each room may use the rooms named beside it, and no others; a room that
//! is not in the table may not exist. (`header` is the crate proxy-header;
//! `config` uses it for the types of its settings.)

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Room, and what it may import from `crate::`.
const ROOMS: [(&str, &[&str]); 13] = [
    ("address", &[]),
    ("policy", &["address", "header", "config"]),
    ("config", &["address", "header"]),
    ("sys", &[]),
    ("logging", &["sys"]),
    ("steer", &["address", "config", "sys"]),
    ("relay", &["address", "header", "policy", "config", "sys"]),
    ("advice", &["config", "steer"]),
    ("budget", &["advice", "config", "relay", "steer", "sys"]),
    (
        "operate",
        &[
            "address", "header", "policy", "config", "sys", "logging", "steer", "relay", "advice",
            "budget",
        ],
    ),
    ("inspect", &["address", "header", "config"]),
    (
        "service",
        &[
            "address", "header", "policy", "config", "sys", "logging", "steer", "relay", "advice",
            "budget", "operate",
        ],
    ),
    (
        "command",
        &[
            "address", "header", "policy", "config", "sys", "logging", "steer", "relay", "advice",
            "budget", "operate", "inspect", "service",
        ],
    ),
];

/// Crates that only these rooms may name. (`config` names `clap` so that an option and its flag of
/// `attach` have one definition.)
const PRIVATE_CRATES: [(&str, &[&str]); 4] = [
    ("aya", &["steer"]),
    ("aya_log", &["steer"]),
    ("rtnetlink", &["steer"]),
    ("clap", &["command", "config"]),
];

/// Crates that pure rooms may not name.
const IMPURE_CRATES: [&str; 6] = ["tokio", "aya", "libc", "nix", "rustix", "socket2"];
const PURE_ROOMS: [&str; 3] = ["address", "policy", "config"];

/// Each source file, with the room that it stands in.
fn sources() -> io::Result<Vec<(String, PathBuf, String)>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(room) = room_of(&path, &source) {
                let text = fs::read_to_string(&path)?;
                sources.push((room, path, text));
            }
        }
    }
    Ok(sources)
}

/// The first name below `source`, without its ending; `None` for the crate's own two files.
fn room_of(path: &Path, source: &Path) -> Option<String> {
    let first = path.strip_prefix(source).ok()?.components().next()?;
    let room = first.as_os_str().to_str()?.trim_end_matches(".rs");
    (room != "lib" && room != "main").then(|| room.to_owned())
}

/// Code lines without their comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split("//").next().unwrap_or(line))
}

/// The words behind each `prefix` in the code.
fn words_behind<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    code(text).flat_map(move |line| line.split(prefix).skip(1)).map(|rest| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    })
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for (room, path, text) in sources().expect("the sources can be read") {
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            panic!("{} stands in a room that the table does not know", path.display());
        };
        for target in words_behind(&text, "crate::") {
            if target != room && !allowed.contains(&target) {
                wrong.push(format!("{} imports {target}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for (room, path, text) in sources().expect("the sources can be read") {
        let names = |name: &str| {
            code(&text).any(|line| {
                line.contains(&format!("use {name}::")) || line.contains(&format!(" {name}::"))
            })
        };
        for (name, homes) in PRIVATE_CRATES {
            if !homes.contains(&room.as_str()) && names(name) {
                wrong.push(format!("{} names {name}", path.display()));
            }
        }
        for name in IMPURE_CRATES {
            if PURE_ROOMS.contains(&room.as_str()) && names(name) {
                wrong.push(format!("{} names {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
