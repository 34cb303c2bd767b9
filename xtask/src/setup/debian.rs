//! Debian packages: recognised by a file that they bring, so that the same programs from elsewhere
//! count as well; installed by `apt-get`, only where missing.

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{privilege, ui};

/// Runs as root. Neither starts nor enables the services that come with a package.
const INSTALL: &str = include_str!("install.sh");

/// How to see that a package is there.
#[derive(Clone, Debug)]
enum Sign {
    /// A program on the `PATH`, or where Debian keeps programs for root.
    Program(&'static str),
    /// A file or a folder.
    File(Cow<'static, str>),
}

/// One Debian package.
#[derive(Clone, Debug)]
pub struct Package {
    name: Cow<'static, str>,
    sign: Sign,
}

impl Package {
    const fn program(name: &'static str, program: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), sign: Sign::Program(program) }
    }

    const fn file(name: &'static str, file: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), sign: Sign::File(Cow::Borrowed(file)) }
    }

    fn is_there(&self) -> bool {
        match &self.sign {
            Sign::Program(program) => locate(program).is_ok(),
            Sign::File(file) => Path::new(file.as_ref()).exists(),
        }
    }
}

/// What rustc links with.
pub const COMPILER: &[Package] =
    &[Package::program("gcc", "cc"), Package::file("libc6-dev", "/usr/include/stdio.h")];

/// What the lab is made and looked at with.
pub const LAB: &[Package] = &[
    Package::program("iproute2", "ip"),
    Package::program("util-linux", "nsenter"),
    Package::program("bpftool", "bpftool"),
];

/// Programs of others that Foreword is shown and tested with.
pub const PEERS: &[Package] = &[
    Package::program("curl", "curl"),
    Package::program("nginx", "nginx"),
    Package::program("openssl", "openssl"),
];

/// What libFuzzer is compiled with.
pub const CXX_COMPILER: &[Package] = &[Package::program("g++", "c++")];

/// What only the tests use.
pub const FOR_TESTS: &[Package] = &[
    Package::program("haproxy", "haproxy"),
    Package::program("procps", "sysctl"),
    Package::program("iptables", "iptables-restore"),
    Package::program("nftables", "nft"),
    Package::program("conntrack", "conntrack"),
    Package::program("hping3", "hping3"),
    Package::program("ethtool", "ethtool"),
    Package::program("python3", "python3"),
    Package::program("systemd", "systemd-analyze"),
];

/// What pip installs other tools with.
pub const PYTHON: &[Package] = &[
    Package::program("python3", "python3"),
    Package::file("python3-venv", "/usr/share/doc/python3-venv"),
];

/// What other kernels are unpacked and booted with, and what is linked statically for them.
pub const FOR_KERNELS: &[Package] = &[
    Package::program("qemu-system-x86", "qemu-system-x86_64"),
    Package::program("cpio", "cpio"),
    Package::program("kmod", "modprobe"),
    Package::program("musl-tools", "musl-gcc"),
];

/// What only the benchmark uses.
pub const FOR_BENCH: &[Package] = &[
    Package::file("libnginx-mod-stream", "/usr/lib/nginx/modules/ngx_stream_module.so"),
    Package::program("iptables", "iptables"),
    Package::program("strace", "strace"),
];

/// What `bpf-linker` is built from.
pub fn llvm(major: u32) -> Vec<Package> {
    let package =
        |name: String, file: String| Package { name: name.into(), sign: Sign::File(file.into()) };
    let folder = format!("/usr/lib/llvm-{major}");
    vec![
        package(format!("llvm-{major}-dev"), format!("{folder}/include/llvm-c/Core.h")),
        package(format!("libpolly-{major}-dev"), format!("{folder}/lib/libPolly.a")),
        Package::file("zlib1g-dev", "/usr/include/zlib.h"),
        Package::file("libzstd-dev", "/usr/include/zstd.h"),
        Package::file("libxml2-dev", "/usr/include/libxml2/libxml/parser.h"),
    ]
}

/// Installs what is missing; whether anything was.
pub fn require(packages: &[Package]) -> Result<bool> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(false);
    }
    let list = missing.join(" ");
    install(&list, &missing).with_context(|| {
        format!("install {list} by hand (these are Debian's names), then run this again")
    })?;
    Ok(true)
}

fn missing(packages: &[Package]) -> Vec<&str> {
    packages.iter().filter(|package| !package.is_there()).map(|package| &*package.name).collect()
}

fn install(list: &str, names: &[&str]) -> Result<()> {
    if which::which("apt-get").is_err() {
        bail!("there is no apt-get");
    }
    let mut command = privilege::command("sh", &format!("install {list}"))?;
    command.args(["-c", INSTALL, "install.sh"]).args(names);
    ui::run_long(&format!("installing {list}"), &mut command)
}

/// Where a program is: Debian's own, if there is one.
pub fn locate(program: &str) -> Result<PathBuf> {
    which::which_in(program, Some(search_path()), "/")
        .with_context(|| format!("there is no program {program}"))
}

/// Debian's folders, also those that an ordinary user's `PATH` leaves out, and then the `PATH`.
fn search_path() -> OsString {
    let mut path = OsString::from("/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:");
    path.push(env::var_os("PATH").unwrap_or_default());
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_is_missing_and_only_that() {
        let packages = [
            Package::program("dash", "sh"),
            Package::program("nothing", "no-such-program"),
            Package::file("base-files", "/etc"),
            Package::file("nothing-dev", "/usr/include/no-such-header.h"),
        ];
        assert_eq!(missing(&packages), ["nothing", "nothing-dev"]);
    }

    #[test]
    fn finds_programs_that_only_root_has_on_the_path() {
        assert!(Package::program("passwd", "chpasswd").is_there());
    }
}
