//! The root file system of a kernel under test: an archive that lies in its memory.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::binaries::Binaries;
use super::debian::Kernel;
use crate::cargo;
use crate::setup::locate;
use crate::static_link::copy_stripped;

/// The first process.
const INIT: &str = include_str!("init.sh");

/// What the first process and the tests run.
const PROGRAMS: [&str; 24] = [
    "sh",
    "mount",
    "modprobe",
    "timeout",
    "ip",
    "tc",
    "nsenter",
    "setpriv",
    "prlimit",
    "sysctl",
    "bpftool",
    "ethtool",
    "nft",
    "iptables-save",
    "ip6tables-save",
    "iptables-restore",
    "ip6tables-restore",
    "conntrack",
    "hping3",
    "haproxy",
    "nginx",
    "curl",
    "openssl",
    "python3",
];

/// What the test harness is told besides. Nobody else is on the machine, so tests that are kept from
/// ordinary ones can run; and with one CPU, one at a time.
const HARNESS: &str = "--include-ignored --test-threads=1";

/// Debian's folder for what iptables loads at run time, and the one around it.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const IPTABLES_PLUGINS: &str = "usr/lib/x86_64-linux-gnu/xtables";

/// Places to mount at and to write to; nginx insists on its own.
const FOLDERS: [&str; 8] = ["bin", "dev", "proc", "sys", "run", "tmp", "usr", "var/lib/nginx"];

/// Where else programs are looked for.
const LINKS: [(&str, &str); 3] = [("bin", "sbin"), ("../bin", "usr/bin"), ("../bin", "usr/sbin")];

/// Files of this machine's that the programs read.
const FILES: [&str; 3] = ["/etc/passwd", "/etc/group", "/usr/lib/ssl/openssl.cnf"];

/// An archive, removed on drop.
#[derive(Debug)]
pub struct Initramfs {
    folder: TempDir,
}

impl Initramfs {
    /// Packs everything for the tests that `picks` name.
    pub fn pack(
        kernel: &Kernel,
        binaries: &Binaries,
        folder: &Path,
        picks: &[String],
    ) -> Result<Self> {
        let folder = TempDir::new_in(folder).context("cannot make a folder")?;
        let root = Root(folder.path().join("root"));
        root.lay_out()?;
        for program in PROGRAMS {
            root.add_program(program).with_context(|| format!("cannot pack {program}"))?;
        }
        for file in FILES.map(Path::new) {
            root.add_file(file).with_context(|| format!("cannot pack {}", file.display()))?;
        }
        copy_stripped(&binaries.foreword, &root.place(&binaries.foreword)?)?;
        copy_stripped(&binaries.tests, &root.place(Path::new("bin/it"))?)?;
        copy_stripped(&binaries.packets, &root.place(Path::new("bin/packets"))?)?;
        let written = cargo::root().join("proxy-user/tests/packets/regressions");
        for entry in fs::read_dir(written)? {
            root.add_file(&entry?.path())?;
        }
        fs::write(root.0.join("arguments"), format!("{HARNESS} {}\n", picks.join(" ")))?;

        let initramfs = Self { folder };
        let archive = File::create(initramfs.archive()).context("cannot make the archive")?;
        append(&archive, &root.0, ".")?;
        append(&archive, kernel.folder(), "lib")?;
        append(&archive, Path::new("/"), IPTABLES_PLUGINS)?;
        append(&archive, Path::new("/"), python_library()?.trim_start_matches('/'))?;
        Ok(initramfs)
    }

    /// What QEMU loads beside the kernel.
    pub fn archive(&self) -> PathBuf {
        self.folder.path().join("initramfs")
    }

    /// Where the kernel's messages are kept.
    pub fn console(&self) -> PathBuf {
        self.folder.path().join("console")
    }
}

/// A root folder, before it is packed.
struct Root(PathBuf);

impl Root {
    fn lay_out(&self) -> Result<()> {
        for folder in FOLDERS {
            fs::create_dir_all(self.0.join(folder))?;
        }
        fs::create_dir_all(self.0.join(LIBRARIES))?;
        for (target, link) in LINKS {
            symlink(target, self.0.join(link))?;
        }
        fs::set_permissions(self.0.join("tmp"), PermissionsExt::from_mode(0o1777))?;
        let init = self.0.join("init");
        fs::write(&init, INIT)?;
        fs::set_permissions(&init, PermissionsExt::from_mode(0o755))?;
        Ok(())
    }

    /// Where a path lies that is absolute inside; its folder is made.
    fn place(&self, path: &Path) -> Result<PathBuf> {
        let place = self.0.join(path.strip_prefix("/").unwrap_or(path));
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(place)
    }

    /// Copies one of this machine's files to where it is here.
    fn add_file(&self, file: &Path) -> Result<()> {
        fs::copy(file, self.place(file)?)?;
        Ok(())
    }

    /// Copies one of this machine's programs, and the libraries that it is linked with.
    fn add_program(&self, name: &str) -> Result<()> {
        let program = locate(name)?;
        fs::copy(&program, self.0.join("bin").join(name))?;
        let output = Command::new("ldd").arg(&program).output().context("cannot run ldd")?;
        for library in libraries(&String::from_utf8_lossy(&output.stdout)) {
            self.add_file(library)?;
        }
        Ok(())
    }
}

/// Appends `folder/part` and everything below to an archive, owned by root. The kernel takes
/// several archives in a row for one.
fn append(archive: &File, folder: &Path, part: &str) -> Result<()> {
    let mut find = Command::new("find");
    find.args([part, "-print0"]).current_dir(folder).stdout(Stdio::piped());
    let mut find = find.spawn().context("cannot run find")?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--null", "--quiet", "--owner=+0:+0"]);
    cpio.current_dir(folder).stdin(find.stdout.take().map_or(Stdio::null(), Stdio::from));
    let packed = cpio.stdout(archive.try_clone()?).status().context("cannot run cpio")?;
    let found = find.wait()?;
    if !packed.success() || !found.success() {
        bail!("cannot pack {}: find said {found}, cpio {packed}", folder.join(part).display());
    }
    Ok(())
}

/// The folder of Python's own modules.
fn python_library() -> Result<String> {
    let mut python = Command::new(locate("python3")?);
    python.args(["-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]);
    Ok(cargo::output(&mut python)?.trim_end().to_owned())
}

/// The files that `ldd` lists: `libc.so.6 => /lib/libc.so.6 (0x7f…)`, or a path alone.
fn libraries(listing: &str) -> impl Iterator<Item = &Path> {
    listing.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_paths_that_ldd_lists() {
        let listing = "\tlinux-vdso.so.1 (0x7ffc)\n\tlibc.so.6 => /lib/x86_64/libc.so.6 (0x7f)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        let expected = ["/lib/x86_64/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(Path::new);
        assert_eq!(libraries(listing).collect::<Vec<_>>(), expected);
        assert_eq!(libraries("\tstatically linked\n").next(), None);
    }
}
