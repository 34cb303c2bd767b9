//! `cargo xtask dist`: the binary that is shipped, in `dist` below the target folder.
//!
//! What is left there has been seen to be static, by its ELF headers, and to run in a root folder
//! that holds what the image's Dockerfile puts there, and nothing else. Beside it is a list of what it is
//! made of, which has been seen to be complete.
//!
//! None of that depends on how well the code was optimised, which is what takes minutes: CI leaves it
//! out, and has another folder, so that nobody ships such a binary.

mod dockerfile;
mod elf;
mod image;
mod sbom;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;

use crate::cargo::{self, Profile};
use crate::setup::{self, Purpose};
use crate::static_link::{TARGET, copy_stripped};
use crate::ui;
use dockerfile::Dockerfile;
use image::Image;

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
    let binary = if args.quick {
        build(Profile::Dev, "dist-quick")?
    } else {
        build(Profile::Release, "dist")?
    };
    check(&binary)?;
    println!("{}", binary.display());
    Ok(())
}

/// Builds the binary, and leaves it without debugging information in a folder of this name.
fn build(profile: Profile, name: &str) -> Result<PathBuf> {
    ui::note("building the static binary");
    let (built, compiled) = cargo::build_static_foreword(profile)?;
    let folder = cargo::target_dir()?.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let binary = folder.join("foreword");
    // A running binary can't be written to, but it can be replaced.
    let scratch = folder.join("foreword.new");
    copy_stripped(&built, &scratch)?;
    fs::rename(&scratch, &binary).context("cannot put the binary in its place")?;
    sbom::write(&binary, &compiled)?;
    Ok(binary)
}

/// Looks at the file, then runs it as the image would.
fn check(binary: &Path) -> Result<()> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    elf::require_static(&bytes).with_context(|| format!("{} is not static", binary.display()))?;
    ui::done(&format!("static: no interpreter, no libraries, {} KiB", bytes.len() / 1024));

    let path = cargo::root().join("scripts/image/Dockerfile");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let dockerfile = Dockerfile::parse(&text).with_context(|| path.display().to_string())?;
    let context = binary.parent().context("a binary lies in a folder")?;
    let image = Image::lay_out(&dockerfile, context)?;
    let version = image.run(&["--version"])?;
    let expected = format!("foreword {}", env!("CARGO_PKG_VERSION"));
    if version.trim() != expected {
        bail!("in the empty root, `foreword --version` says {version:?} and not {expected:?}");
    }
    let decoded = image.run(&["decode", HEADER])?;
    if !decoded.contains(DECODED) {
        bail!("in the empty root, `foreword decode` says:\n{decoded}");
    }
    ui::done("it runs in a root folder with nothing beside it");
    Ok(())
}
