//! Whether the tests can run here.

use std::env;
use std::io::Write as _;

use nix::unistd::geteuid;

/// Programs that the lab and the tests run.
const TOOLS: [&str; 3] = ["ip", "nsenter", "python3"];

/// On a CI machine (`CI=true`) a no is a failure; elsewhere the test is skipped, and says so past the
/// harness's capture.
pub fn is_ready() -> bool {
    let missing = if geteuid().is_root() {
        let path = env::var_os("PATH").unwrap_or_default();
        let is_installed = |tool: &&str| env::split_paths(&path).any(|it| it.join(tool).is_file());
        TOOLS.iter().find(|tool| !is_installed(tool)).map(|tool| format!("not installed: {tool}"))
    } else {
        Some("network namespaces need root; run `cargo xtask test`".to_owned())
    };
    let Some(missing) = missing else { return true };
    assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "on CI nothing is skipped: {missing}");
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {missing}");
    false
}

/// Whether the kernel has tcx, as it does since 6.6.
pub fn has_tcx() -> bool {
    let name = nix::sys::utsname::uname().expect("every kernel has a name");
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|it| it.parse().ok());
    let version: (Option<u32>, Option<u32>) = (numbers.next(), numbers.next());
    version >= (Some(6), Some(6))
}
