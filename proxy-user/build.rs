//! Builds the eBPF object for the BPF target and leaves it in `OUT_DIR`, so that plain
//! `cargo build` is enough.
#![allow(unsafe_code, reason = "setting an environment variable is unsafe; see the one block")]

use std::env;

use anyhow::{Context as _, bail};
use aya_build::{Package, Toolchain};

fn main() -> anyhow::Result<()> {
    require_linker()?;
    let manifest = env::var("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?;
    let toolchain = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned());
    // The BPF target has no prebuilt `core`; building it is an unstable feature of a stable cargo.
    // And what that cargo says of its progress would come out as warnings of ours.
    // SAFETY: a build script that has started no thread yet.
    unsafe {
        env::set_var("RUSTC_BOOTSTRAP", "1");
        env::set_var("CARGO_TERM_QUIET", "true");
    }
    let package = Package {
        name: "proxy-ebpf",
        root_dir: &format!("{manifest}/../proxy-ebpf"),
        ..Package::default()
    };
    println!("cargo:rerun-if-changed={manifest}/../proxy-common");
    aya_build::build_ebpf([package], Toolchain::Custom(&toolchain))
}

/// A missing linker is the first thing that a newcomer meets, and rustc's own error for it is
/// hard to read.
fn require_linker() -> anyhow::Result<()> {
    if which::which("bpf-linker").is_err() {
        bail!("bpf-linker is not installed; `cargo xtask setup` installs it");
    }
    Ok(())
}
