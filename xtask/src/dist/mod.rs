//! `cargo xtask dist`: the binary that is shipped, in `dist` below the target folder.
//!
//! It is checked to be static, by its ELF headers, and to run in a root folder with nothing else in it,
//! as in the image. Beside it are a list of what it is made of, which is checked to be complete, its man
//! pages and its completion scripts.
//!
//! None of these checks depends on optimisation, which takes minutes. CI therefore builds without it,
//! into another folder, so that such a binary is not shipped by mistake.

mod sbom;

use std::collections::BTreeSet;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Artifact, PackageId};
use clap::Args as ClapArgs;
use indicatif::BinaryBytes;
use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use tempfile::TempDir;

use crate::setup::{self, Purpose, locate};
use crate::static_link::{TARGET, copy_stripped};
use crate::{cargo, privilege, ui};

/// A complete v2 header, and what `foreword decode` has to make of it.
const HEADER: &str = "0d0a0d0a000d0a515549540a 2111 000c c0000201 c6336407 9c40 01bb";
const DECODED: &str = "192.0.2.1:40000 → 198.51.100.7:443";

/// How it is built.
#[derive(ClapArgs)]
pub struct Args {
    /// Check a binary that is not optimised, in `dist-quick`: not for shipping.
    #[arg(long)]
    quick: bool,
}

/// Builds, checks, and says where the binary is.
pub fn run(args: &Args) -> Result<()> {
    if ARCH != "x86_64" {
        bail!("the binary is linked for {TARGET}, and this machine is {ARCH}");
    }
    setup::run(Purpose::Dist)?;
    let (profile, folder) = if args.quick { ("dev", "dist-quick") } else { ("release", "dist") };
    let binary = build(profile, folder)?;
    check(&binary)?;
    generate(&binary)?;
    println!("{}", binary.display());
    Ok(())
}

/// Builds the binary, and leaves it without debugging information in a folder of this name.
fn build(profile: &str, name: &str) -> Result<PathBuf> {
    ui::note("building the static binary");
    let (profile, target) = (format!("--profile={profile}"), format!("--target={TARGET}"));
    let foreword = ["build", "--package=proxy-user", "--bin=foreword", &profile, &target];
    let artifacts = cargo::build(&foreword)?;
    let folder = cargo::target_dir()?.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let binary = folder.join("foreword");
    // A running binary can't be written to, but it can be replaced.
    let scratch = folder.join("foreword.new");
    copy_stripped(&cargo::executable(&artifacts, "foreword")?, &scratch)?;
    fs::rename(&scratch, &binary).context("cannot put the binary in its place")?;
    sbom::write(&binary, &compiled_for_target(&artifacts))?;
    Ok(binary)
}

/// The packages that were compiled for the target, and not for what runs during the build: those lie
/// in another folder.
fn compiled_for_target(artifacts: &[Artifact]) -> BTreeSet<PackageId> {
    let is_for_target = |artifact: &&Artifact| {
        artifact.filenames.iter().any(|file| file.components().any(|it| it.as_str() == TARGET))
    };
    artifacts.iter().filter(is_for_target).map(|artifact| artifact.package_id.clone()).collect()
}

/// Shells that completion scripts are for, and what their files are usually called.
const SHELLS: [(&str, &str); 3] =
    [("bash", "foreword.bash"), ("zsh", "_foreword"), ("fish", "foreword.fish")];

/// Has the binary write its man pages and completion scripts into folders beside it.
fn generate(binary: &Path) -> Result<()> {
    let man = binary.with_file_name("man");
    // Pages of commands that are gone don't stay.
    if man.exists() {
        fs::remove_dir_all(&man).with_context(|| format!("cannot empty {}", man.display()))?;
    }
    cargo::output(Command::new(binary).args(["generate", "man"]).arg(&man))?;
    let completions = binary.with_file_name("completions");
    fs::create_dir_all(&completions)
        .with_context(|| format!("cannot make {}", completions.display()))?;
    for (shell, name) in SHELLS {
        let script = cargo::output(Command::new(binary).args(["generate", "completions", shell]))?;
        let path = completions.join(name);
        fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let pages = fs::read_dir(&man).context("cannot read the man pages")?.count();
    ui::done(&format!("{pages} man pages, completions for {} shells", SHELLS.len()));
    Ok(())
}

/// Looks at the file, then runs it with nothing beside it.
fn check(binary: &Path) -> Result<()> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    require_static(&bytes).with_context(|| format!("{} is not static", binary.display()))?;
    let size = BinaryBytes(bytes.len() as u64);
    ui::done(&format!("static: no interpreter, no libraries, {size}"));

    let root = TempDir::new().context("cannot make a folder")?;
    fs::copy(binary, root.path().join("foreword")).context("cannot copy the binary")?;
    let version = run_alone(&root, &["--version"])?;
    let expected = format!("foreword {}", env!("CARGO_PKG_VERSION"));
    if version.trim() != expected {
        bail!("in the empty root, `foreword --version` says {version:?} and not {expected:?}");
    }
    let decoded = run_alone(&root, &["decode", HEADER])?;
    if !decoded.contains(DECODED) {
        bail!("in the empty root, `foreword decode` says:\n{decoded}");
    }
    ui::done("it runs in a root folder with nothing beside it");
    Ok(())
}

/// Runs `/foreword` of a root folder. A container engine, which would do the same with the image, does
/// not run on the machines that this is built on.
fn run_alone(root: &TempDir, arguments: &[&str]) -> Result<String> {
    let mut command = privilege::command(locate("chroot")?, "run the binary in an empty root")?;
    cargo::output(command.arg(root.path()).arg("/foreword").args(arguments))
}

/// An error unless this is an ELF program with neither an interpreter nor needed libraries. A static
/// program that can lie anywhere in memory has a dynamic section as well.
fn require_static(file: &[u8]) -> Result<()> {
    let header = FileHeader64::<Endianness>::parse(file)?;
    let endian = header.endian()?;
    for segment in header.program_headers(endian, file)? {
        if segment.p_type(endian) == PT_INTERP {
            bail!("it asks for an interpreter");
        }
        let entries = segment.dynamic(endian, file)?.unwrap_or_default();
        if entries.iter().any(|entry| entry.tag(endian) == DT_NEEDED) {
            bail!("it asks for a shared library");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_runs_this_test_is_dynamic() {
        let program = fs::read(std::env::current_exe().unwrap()).unwrap();
        if cfg!(target_env = "gnu") {
            let error = require_static(&program).unwrap_err().to_string();
            assert!(error.contains("interpreter") || error.contains("library"), "{error}");
        }
        require_static(b"#!/bin/sh\n").unwrap_err();
        require_static(&program[..70]).unwrap_err();
    }
}
