//! What the suite needs of the machine, and how its tests are declared.

use std::env;
use std::fs;
use std::io::Write;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
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

/// The binary under test.
pub fn foreword() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_foreword"))
}

/// Declares tests that run once for each address family: `fn name(family: Family)` becomes
/// `name::v4` and `name::v6`. An attribute before the name is both tests'.
macro_rules! both_families {
    ($($(#[$attribute:meta])* $name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            $(#[$attribute])*
            fn v4() {
                if crate::setup::is_ready() {
                    super::$name(xtask::lab::Family::V4);
                }
            }

            #[test]
            $(#[$attribute])*
            fn v6() {
                if crate::setup::is_ready() {
                    super::$name(xtask::lab::Family::V6);
                }
            }
        }
    )+};
}

/// Declares tests for which the address family does not matter: `fn name()` becomes `name::once`.
macro_rules! any_family {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn once() {
                if crate::setup::is_ready() {
                    super::$name();
                }
            }
        }
    )+};
}

/// Whether tests can run here. On a CI machine (`CI=true`) a no is a failure; elsewhere the test
/// is skipped, and says so past the harness's capture.
pub fn is_ready() -> bool {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(missing).as_deref().is_none_or(skip)
}

/// The same for a test that runs programs besides [`TOOLS`], which other machines of ours lack.
pub fn has_tools(tools: &[&str]) -> bool {
    let absent = absent(tools);
    absent.is_empty() || skip(&format!("not installed: {}", absent.join(", ")))
}

/// Says why a test is skipped, where it may be; not ready, in any case.
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

/// A folder for one test's files that everybody may read, removed on drop.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("foreword-it-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("the temporary folder is writable");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and gives its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file of ours can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a program wrote to stdout; it must end well.
pub fn output_of(mut command: Command) -> String {
    let output = command.output().expect("the tool is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a test on a thread that has a BPF file system of its own, as have the programs that it starts:
/// what they leave there on purpose is not swept by others.
pub fn with_own_bpffs(test: impl FnOnce() + Send) {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNS).expect("root may have mounts of its own");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("they are ours");
        mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), None::<&str>)
            .expect("root may mount");
        test();
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| resume_unwind(panic));
}
