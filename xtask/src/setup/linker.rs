//! `bpf-linker`, which turns the eBPF crate's bitcode into one object. It has to be linked with an
//! LLVM that is at least as new as rustc's, or it cannot read that bitcode.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian;
use super::rust::{self, Toolchain};
use crate::ui;

/// The version that this workspace is built with.
const VERSION: &str = "0.13.0";

/// Versions of LLVM that [`VERSION`] can be built with.
const LLVM_SUPPORTED: std::ops::RangeInclusive<u32> = 21..=23;

/// Builds and installs the linker if there is none that fits; whether it did.
pub fn require(toolchain: &Toolchain) -> Result<bool> {
    let found = which::which("bpf-linker").ok();
    if found.as_deref().is_some_and(|path| fits(path, toolchain.llvm)) {
        return Ok(false);
    }
    let major = toolchain.llvm;
    if !LLVM_SUPPORTED.contains(&major) {
        bail!(
            "rustc contains LLVM {major}, and bpf-linker {VERSION} knows {} to {}: \
             use a Rust release with one of these, for instance by `rustup override set 1.95`",
            LLVM_SUPPORTED.start(),
            LLVM_SUPPORTED.end()
        );
    }
    let prefix = llvm_prefix(major)?;
    install(major, &prefix, found.is_some())?;
    if which::which("bpf-linker").is_err() {
        bail!("bpf-linker is in {}, which is not on the PATH: add it", rust::cargo_bin().display());
    }
    Ok(true)
}

/// Whether this linker runs, is new enough, and reads what rustc writes.
fn fits(linker: &Path, rustc_llvm: u32) -> bool {
    let version = Command::new(linker).arg("--version").output().ok().and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        version_number(text.split_whitespace().last()?)
    });
    let new_enough = version.is_some() && version >= version_number(VERSION);
    let libraries = Command::new("ldd").arg(linker).output();
    let own_llvm = libraries.ok().and_then(|it| linked_llvm(&String::from_utf8_lossy(&it.stdout)));
    // Without a shared LLVM there is one inside, which was chosen by hand.
    new_enough && own_llvm.is_none_or(|llvm| llvm >= rustc_llvm)
}

fn version_number(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// The major version of the shared LLVM among the libraries that `ldd` lists.
fn linked_llvm(libraries: &str) -> Option<u32> {
    let (_, version) = libraries.split_once("libLLVM.so.")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Where an LLVM of this version is: one that the user named, or Debian's, which is installed
/// if it is missing.
fn llvm_prefix(major: u32) -> Result<PathBuf> {
    if let Some(prefix) = env::var_os("LLVM_PREFIX") {
        return Ok(prefix.into());
    }
    if which::which("apt-get").is_err()
        && let Some(prefix) = configured_llvm(major)
    {
        return Ok(prefix);
    }
    debian::require(&debian::llvm(major)).with_context(|| {
        format!(
            "bpf-linker has to be built with LLVM {major}, the one inside rustc. \
             https://apt.llvm.org has it for Debian releases that don't; elsewhere install \
             LLVM {major} with its headers, and set LLVM_PREFIX to its folder"
        )
    })?;
    Ok(format!("/usr/lib/llvm-{major}").into())
}

/// Asks `llvm-config`, for distributions that are not Debian.
fn configured_llvm(major: u32) -> Option<PathBuf> {
    [format!("llvm-config-{major}"), "llvm-config".to_owned()].iter().find_map(|program| {
        let ask = |option| {
            let output = Command::new(program).arg(option).output().ok()?;
            String::from_utf8(output.stdout).ok()
        };
        let version = ask("--version")?;
        let prefix = ask("--prefix")?;
        version.starts_with(&format!("{major}.")).then(|| prefix.trim_end().into())
    })
}

fn install(major: u32, prefix: &Path, replace: bool) -> Result<()> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["install", "bpf-linker", "--version", VERSION, "--locked"]);
    command.args(["--no-default-features", "--features", &format!("llvm-{major}")]);
    if replace {
        command.arg("--force");
    }
    command.env("LLVM_PREFIX", prefix);
    ui::run_long(
        &format!("building bpf-linker {VERSION}, which takes a minute or two"),
        &mut command,
    )
    .with_context(|| {
        format!(
            "cannot build bpf-linker; by hand it is: LLVM_PREFIX={} {}",
            prefix.display(),
            ui::shell_line(&command)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_versions_by_number() {
        assert!(version_number("0.13.0") < version_number("0.13.1"));
        assert!(version_number("0.9.15") < version_number(VERSION));
        assert_eq!(version_number("0.13"), None);
        assert_eq!(version_number("unknown"), None);
    }

    #[test]
    fn reads_the_llvm_that_a_linker_is_linked_with() {
        let libraries = "\tlibLLVM.so.22.1 => /usr/lib/libLLVM.so.22.1 (0x7f)\n\tlibc.so.6";
        assert_eq!(linked_llvm(libraries), Some(22));
        assert_eq!(linked_llvm("\tstatically linked"), None);
    }
}
