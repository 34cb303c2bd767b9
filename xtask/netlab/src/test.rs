//! How tests that need the lab are declared, and what they need of the machine.

use std::env;
use std::io::Write as _;
use std::sync::OnceLock;
use std::thread;

use nix::unistd::geteuid;

/// Every program that some test runs.
const TOOLS: [&str; 18] = [
    "ip",
    "tc",
    "nsenter",
    "setpriv",
    "prlimit",
    "bpftool",
    "iptables-save",
    "ip6tables-save",
    "nft",
    "conntrack",
    "ethtool",
    "hping3",
    "sysctl",
    "python3",
    "haproxy",
    "nginx",
    "curl",
    "openssl",
];

/// Makes a function a test that is skipped where the lab can't be made ([`is_ready`]).
///
/// ```ignore
/// #[apply(lab_test)]
/// fn nothing_is_left() { … }
/// ```
#[macro_export]
macro_rules! lab_test {
    ($(#[$attribute:meta])* fn $name:ident() $body:block) => {
        #[test]
        $(#[$attribute])*
        fn $name() {
            if $crate::is_ready() $body
        }
    };
}

/// Makes a function two tests, `name::v4` and `name::v6`, one for each address family. They are
/// skipped where the lab can't be made ([`is_ready`]).
///
/// ```ignore
/// #[apply(both_families)]
/// fn a_header_is_passed_on(family: Family) { … }
/// ```
#[macro_export]
macro_rules! both_families {
    (
        $(#[doc = $doc:literal])*
        $(#[ignore = $why:literal])?
        $(#[allow $allowed:tt])?
        fn $name:ident($family:ident: $type:ty) $body:block
    ) => {
        $(#[doc = $doc])*
        $(#[allow $allowed])?
        fn $name($family: $type) $body

        mod $name {
            #[test]
            $(#[ignore = $why])?
            fn v4() {
                if $crate::is_ready() {
                    super::$name($crate::Family::V4);
                }
            }

            #[test]
            $(#[ignore = $why])?
            fn v6() {
                if $crate::is_ready() {
                    super::$name($crate::Family::V6);
                }
            }
        }
    };
}

/// Whether tests can run here. On a CI machine (`CI=true`) a no is a failure; elsewhere the test
/// is skipped, and says so past the harness's capture.
pub fn is_ready() -> bool {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(missing).as_deref().is_none_or(skip)
}

/// Whether these programs are installed, for a test that runs more than most. [`is_ready`] says what
/// a no means.
pub fn has_tools(tools: &[&str]) -> bool {
    let absent = absent(tools);
    absent.is_empty() || skip(&format!("not installed: {}", absent.join(", ")))
}

/// Says why a test is skipped, and is false; where nothing may be skipped, it fails.
fn skip(missing: &str) -> bool {
    assert!(env::var_os("CI").is_none_or(|ci| ci != "true"), "on CI nothing is skipped: {missing}");
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {missing}");
    false
}

/// What this machine lacks, in one sentence.
fn missing() -> Option<String> {
    if !geteuid().is_root() {
        return Some("network namespaces need root; run `cargo xtask test`".to_owned());
    }
    let absent = absent(&TOOLS);
    (!absent.is_empty())
        .then(|| format!("not installed: {}; run `cargo xtask test`", absent.join(", ")))
}

fn absent<'a>(tools: &[&'a str]) -> Vec<&'a str> {
    tools.iter().copied().filter(|tool| !is_installed(tool)).collect()
}

fn is_installed(tool: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}
