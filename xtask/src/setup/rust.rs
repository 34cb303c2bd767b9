//! The Rust toolchain that builds this workspace, and its components.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cargo, ui};

/// A part of a toolchain that rustup installs on its own.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    name: &'static str,
    /// A file that it brings, below the sysroot.
    sign: &'static str,
}

/// The standard library's source: `core` is built from it for the BPF target.
pub const SOURCE: Component =
    Component { name: "rust-src", sign: "lib/rustlib/src/rust/library/core/Cargo.toml" };
/// The standard library for programs that are linked statically.
pub const STATIC: Component = Component {
    name: "rust-std-x86_64-unknown-linux-musl",
    sign: "lib/rustlib/x86_64-unknown-linux-musl/lib",
};
/// `cargo fmt`.
pub const FORMATTER: Component = Component { name: "rustfmt", sign: "bin/rustfmt" };
/// `cargo clippy`.
pub const CLIPPY: Component = Component { name: "clippy", sign: "bin/cargo-clippy" };

/// The toolchain in use.
#[derive(Debug)]
pub struct Toolchain {
    sysroot: PathBuf,
    /// Major version of the LLVM inside rustc.
    pub llvm: u32,
}

impl Toolchain {
    /// Asks `rustc`.
    pub fn find() -> Result<Self> {
        let sysroot = rustc(&["--print=sysroot"])?.trim_end().into();
        let version = rustc(&["--version", "--verbose"])?;
        let llvm = llvm_major(&version).context("`rustc -vV` names no LLVM version")?;
        Ok(Self { sysroot, llvm })
    }

    /// Adds the components that are missing; whether any was.
    pub fn require(&self, components: &[Component]) -> Result<bool> {
        let missing: Vec<_> =
            components.iter().filter(|it| !self.sysroot.join(it.sign).exists()).collect();
        if missing.is_empty() {
            return Ok(false);
        }
        let names = missing.iter().map(|component| component.name).collect::<Vec<_>>();
        if which::which("rustup").is_err() {
            bail!(
                "{} is missing below {}, and there is no rustup to add it: install rustup \
                 (https://rustup.rs) and a toolchain by it, then run this again",
                names.join(" and "),
                self.sysroot.display()
            );
        }
        let mut command = Command::new("rustup");
        command.args(["component", "add"]).args(&names);
        ui::run_long(&format!("adding {} to the Rust toolchain", names.join(", ")), &mut command)?;
        Ok(true)
    }
}

fn rustc(args: &[&str]) -> Result<String> {
    cargo::output(Command::new("rustc").args(args))
}

/// Reads the line `LLVM version: 22.1.2`.
fn llvm_major(version: &str) -> Option<u32> {
    let number = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    number.split('.').next()?.parse().ok()
}

/// The folder that `cargo install` puts programs into, for messages.
pub fn cargo_bin() -> PathBuf {
    cargo::home().join("bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_llvm_version() {
        let version =
            "rustc 1.95.0 (59807616e 2026-04-14)\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        assert_eq!(llvm_major(version), Some(22));
        assert_eq!(llvm_major("rustc 1.95.0"), None);
    }

    #[test]
    fn the_toolchain_that_builds_this_has_a_standard_library() {
        let toolchain = Toolchain::find().unwrap();
        assert!(toolchain.sysroot.join("lib/rustlib").exists());
    }
}
