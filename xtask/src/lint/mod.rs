//! `cargo xtask lint`: formatting, clippy with warnings as errors, and what the dependencies are.

mod dependencies;

use anyhow::Result;

use crate::cargo::{self, cargo};
use crate::setup::{self, Purpose};
use crate::ui;

/// Checks the whole workspace; the first complaint ends it.
pub fn run() -> Result<()> {
    setup::run(Purpose::Lint)?;

    ui::note("formatting");
    cargo::run(cargo().args(["fmt", "--all", "--check"]))?;
    // Fuzz targets are workspaces of their own.
    for manifest in ["proxy-user/fuzz/Cargo.toml", "proxy-user/header/fuzz/Cargo.toml"] {
        cargo::run(cargo().args(["fmt", "--manifest-path", manifest, "--check"]))?;
    }

    ui::note("clippy");
    cargo::run(cargo().args(["clippy", "--all-targets", "--", "--deny=warnings"]))?;

    ui::note("clippy, on the eBPF crate for its own target");
    lint_ebpf()?;

    ui::note("dependencies");
    dependencies::check()
}

/// Compiles as `proxy-user`'s build script does: for the BPF target, whose `core` is built from
/// source. The folder is another one, since the flags are.
fn lint_ebpf() -> Result<()> {
    let target = if cfg!(target_endian = "big") { "bpfeb" } else { "bpfel" };
    let flags = format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH);
    let mut command = cargo();
    command.args(["clippy", "--package=proxy-ebpf", "--lib", "--bins", "--release"]);
    command.args([&format!("--target={target}-unknown-none"), "-Zbuild-std=core"]);
    command.arg("--target-dir").arg(cargo::target_dir()?.join("ebpf-lint"));
    command.args(["--", "--deny=warnings"]);
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", flags);
    cargo::run(&mut command)
}
