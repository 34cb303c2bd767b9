//! One network namespace with a name, as `ip netns` makes it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

use super::wait::wait_until;

/// How long an address may take to become usable, on a machine that is busy with other labs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A named network namespace, removed on drop.
///
/// `lo` is up, and IPv6 addresses can be used at once (no duplicate address detection).
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes it. An existing namespace of that name is an error, and stays.
    pub fn new(name: &str) -> Result<Self> {
        ip(&["netns", "add", name])?;
        let netns = Self { name: name.to_owned() };
        netns.ip("link set lo up")?;
        for scope in ["all", "default"] {
            netns.sysctl(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
        }
        Ok(netns)
    }

    /// The name, as `ip netns` lists it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace, for `setns` and `nsenter`.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command that will run inside. Its pid is the program's own: `nsenter` replaces itself.
    ///
    /// Not `ip netns exec`, which mounts a `/sys` of its own and so hides bpffs and cgroups.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// `ip -n NAME ARGS`, split at white space. The error carries what `ip` said.
    pub fn ip(&self, args: &str) -> Result<()> {
        let mut all = vec!["-n", &self.name];
        all.extend(args.split_whitespace());
        ip(&all)
    }

    /// Runs `f` on a thread that has entered the namespace: sockets made there live inside, and
    /// go on doing so wherever they are handed to. A panic of `f` is passed on.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter().expect("a namespace exists as long as its Netns");
                f()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread, and no other, into the namespace.
    fn enter(&self) -> Result<()> {
        let path = self.path();
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", self.name))
    }

    /// Sets `/proc/sys/KEY`, which must be one of the network's.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.run(|| fs::write(format!("/proc/sys/{key}"), value))
            .with_context(|| format!("cannot set {key}={value} in {}", self.name))
    }

    /// Makes it a router, of both families.
    pub fn forward(&self) -> Result<()> {
        self.sysctl("net/ipv4/ip_forward", "1")?;
        self.sysctl("net/ipv6/conf/all/forwarding", "1")
    }

    /// Joins two namespaces by a veth pair with one end in each, both up.
    pub fn link(&self, end: &str, other: &Self, other_end: &str) -> Result<()> {
        let (here, there) = (&self.name, &other.name);
        ip(&[
            "link", "add", end, "netns", here, "type", "veth", "peer", "name", other_end, "netns",
            there,
        ])?;
        self.ip(&format!("link set {end} up"))?;
        other.ip(&format!("link set {other_end} up"))
    }

    /// Adds an address that can be used at once.
    pub fn add_address(&self, interface: &str, address: IpAddr, prefix: u8) -> Result<()> {
        self.ip(&format!("address add {address}/{prefix} dev {interface} {}", nodad(address)))?;
        self.wait_for_route(address)
    }

    /// Adds an address that connections come from only if they are bound to it.
    pub fn add_spare_address(&self, interface: &str, address: IpAddr, prefix: u8) -> Result<()> {
        let nodad = nodad(address);
        let lifetime = "valid_lft forever preferred_lft 0";
        self.ip(&format!("address add {address}/{prefix} dev {interface} {nodad} {lifetime}"))?;
        self.wait_for_route(address)
    }

    /// The kernel makes an IPv6 address usable a little later, when it has noticed that the link is
    /// up. Who looks at the routes before that sees them change afterwards.
    fn wait_for_route(&self, address: IpAddr) -> Result<()> {
        let option = if address.is_ipv4() { "-4" } else { "-6" };
        let show = ["-n", &self.name, option, "route", "show", "table", "local", "to"];
        let what = format!("{address} to be usable in {}", self.name);
        wait_until(PATIENCE, &what, || {
            let routes = Command::new("ip").args(show).arg(address.to_string()).output();
            routes.is_ok_and(|output| !output.stdout.is_empty())
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Err(error) = ip(&["netns", "del", &self.name]) {
            eprintln!("the namespace {} stays: {error:#}", self.name);
        }
    }
}

/// IPv6 alone looks for duplicates, and takes the word that forbids it.
fn nodad(address: IpAddr) -> &'static str {
    if address.is_ipv6() { "nodad" } else { "" }
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).output().context("cannot run `ip`")?;
    if !output.status.success() {
        bail!("`ip {}`: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
