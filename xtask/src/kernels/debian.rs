//! Debian's kernel packages: found by `apt-cache`, downloaded, unpacked into the target folder and
//! kept there. Nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::Series;
use crate::setup::locate;
use crate::{privilege, ui};

/// Kernels for virtual machines: small, with BTF, and with what Foreword needs as modules.
const PREFIX: &str = "linux-image-";
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel, unpacked.
#[derive(Debug)]
pub struct Kernel {
    /// What it is one of.
    pub series: Series,
    /// Its version as the kernel itself says it, such as `6.1.0-56-cloud-amd64`.
    pub version: String,
    folder: PathBuf,
}

impl Kernel {
    /// The newest of a series that apt knows, from `cache` or from the network.
    pub fn obtain(series: Series, cache: &Path) -> Result<Self> {
        let mut version = newest(series)?;
        if version.is_none() {
            update_lists()?;
            version = newest(series)?;
        }
        let version = version.with_context(|| {
            let number = series.number();
            format!(
                "apt knows no package {PREFIX}{number}.*{FLAVOUR}: add a Debian suite that has it, \
                 or pick another kernel by --kernel"
            )
        })?;
        let folder = cache.join(&version);
        if !folder.exists() {
            fetch(&version, cache, &folder).with_context(|| format!("cannot get {version}"))?;
        }
        Ok(Self { series, version, folder })
    }

    /// What a boot loader loads.
    pub fn image(&self) -> PathBuf {
        self.folder.join(format!("boot/vmlinuz-{}", self.version))
    }

    /// The package's files: the modules are in `lib/modules`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The newest version of a series among all packages that apt knows.
fn newest(series: Series) -> Result<Option<String>> {
    let mut command = Command::new("apt-cache");
    command.args(["pkgnames", &format!("{PREFIX}{}.", series.number())]);
    let output = command.output().context("cannot run apt-cache, which Debian has")?;
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(newest_of(names.lines()).map(str::to_owned))
}

fn newest_of<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let versions = names.filter(|name| name.ends_with(FLAVOUR));
    versions.filter_map(|name| name.strip_prefix(PREFIX)).max_by_key(|version| numbers(version))
}

/// All numbers in a version: `6.1.0-56-cloud-amd64` is 6, 1, 0, 56, 64.
fn numbers(version: &str) -> Vec<u32> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// Downloads and unpacks into `folder`, which is complete as soon as it exists.
fn fetch(version: &str, cache: &Path, folder: &Path) -> Result<()> {
    let scratch = TempDir::new_in(cache).context("cannot make a folder")?;
    let package = format!("{PREFIX}{version}");
    let download = || {
        let mut command = Command::new("apt-get");
        command.args(["-q", "download", &package]).current_dir(scratch.path());
        ui::run_long(&format!("downloading {package}"), &mut command)
    };
    // An old list names a package that its successor has replaced.
    download().or_else(|_| update_lists().and_then(|()| download()))?;
    let archive = only_file_in(scratch.path())?;
    let unpacked = scratch.path().join("unpacked");
    let mut unpack = Command::new("dpkg-deb");
    ui::run_long("unpacking it", unpack.arg("--extract").arg(&archive).arg(&unpacked))?;
    // Debian does this when a kernel is installed.
    let mut index = Command::new(locate("depmod")?);
    ui::run_long("indexing its modules", index.arg("-b").arg(&unpacked).arg(version))?;
    fs::rename(&unpacked, folder).with_context(|| format!("cannot move it to {}", folder.display()))
}

fn update_lists() -> Result<()> {
    let mut command = privilege::command("apt-get", "update apt's lists of packages")?;
    ui::run_long("updating apt's lists of packages", command.args(["-q", "update"]))
}

fn only_file_in(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let [entry] = &entries[..] else {
        bail!("apt-get left {} files instead of one package", entries.len());
    };
    Ok(entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_the_newest_signed_kernel() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-cloud-amd64-unsigned",
            "linux-image-6.1.0-58-cloud-amd64-dbg",
            "linux-image-6.1.0-59-amd64",
        ];
        assert_eq!(newest_of(names.into_iter()), Some("6.1.0-56-cloud-amd64"));
        let names =
            ["linux-image-6.12.99+deb12-cloud-amd64", "linux-image-6.12.117+deb12-cloud-amd64"];
        assert_eq!(newest_of(names.into_iter()), Some("6.12.117+deb12-cloud-amd64"));
        assert_eq!(newest_of(["linux-image-6.12"].into_iter()), None);
    }
}
