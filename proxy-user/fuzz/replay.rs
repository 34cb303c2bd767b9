//! What the fuzz targets begin with and what they have found, checked without a fuzzer.
//!
//! A crash that `cargo xtask fuzz` finds lies in `regressions/<target>/` afterwards, and fails here
//! until it is put right.

mod properties;

use std::fs;
use std::path::Path;

/// Checks each file of a target's folder; how many there are. The path that is printed last is
/// that of the input that failed.
fn replay(kind: &str, target: &str, check: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target);
    let Ok(inputs) = fs::read_dir(folder) else { return 0 };
    let check_file = |path: &Path| {
        println!("{}", path.display());
        check(&fs::read(path).expect("a readable file"));
    };
    inputs.map(|input| check_file(&input.expect("a file").path())).count()
}

/// A target without seeds would begin with nothing; one that has found nothing is fine.
fn replay_all(target: &str, check: fn(&[u8])) {
    assert!(replay("corpus", target, check) > 0, "{target} has no seeds");
    replay("regressions", target, check);
}

#[test]
fn policy() {
    replay_all("policy", properties::policy::check);
}

#[test]
fn config() {
    replay_all("config", properties::config::check);
}

#[test]
fn import() {
    replay_all("import", properties::import::check);
}

#[test]
fn admin() {
    replay_all("admin", properties::admin::check);
}

#[test]
fn hex() {
    replay_all("hex", properties::hex::check);
}

#[test]
fn netlink() {
    replay_all("netlink", properties::netlink::check);
}
