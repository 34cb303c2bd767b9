//! `--keep`: one Foreword and the HTTP server go on in the lab after the demo has ended.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use netlab::{BACKEND_V4, LB_V4, Lab, Netns, VIP_V4, wait_until};
use tempfile::TempDir;

use super::report::Report;
use super::scene::Scene;
use super::server::{PLAIN, PROXIED};

/// What has to be ended by hand, and what is to be said before.
pub struct Kept {
    /// The demo's account.
    pub report: Report,
    foreword: u32,
    server: u32,
}

/// Attaches a Foreword that outlives us and the terminal. Its output goes to a file in `folder`.
pub fn start(scene: Scene<'_>, folder: &Path) -> Result<Kept> {
    let file = folder.join("foreword.log");
    let log = File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
    // In a session of its own, so that the end of the terminal is not the end of it.
    let mut command = scene.lab.node.command("setsid");
    command.arg(scene.binary).args(["attach", "eth0", "--inbound", "optional"]);
    command.args(["--port", &PLAIN.to_string(), "--trust", &format!("{LB_V4}/32")]);
    command.args(["--outbound", "v2", "--upstream", &format!("{BACKEND_V4}:{PROXIED}")]);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = command.spawn().context("cannot start foreword")?;
    let ready = wait_until(Duration::from_secs(30), "foreword to be ready", || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        text.lines().any(|line| line.starts_with("ready"))
    });
    if let Err(error) = ready {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error.context(fs::read_to_string(&file).unwrap_or_default()));
    }
    Ok(Kept { report: scene.report, foreword: child.id(), server: scene.server.keep() })
}

impl Kept {
    /// Keeps the lab and the folder, and says how to use and how to remove them.
    pub fn leave(&self, lab: Lab, folder: TempDir) {
        let folder = folder.keep();
        let [client, node, backend] = [&lab.client, &lab.node, &lab.backend].map(Netns::name);
        println!("\nThe lab is up. As root, enter");
        for (place, name) in [("client", client), ("node", node), ("backend", backend)] {
            println!("  the {place:<8} nsenter --net=/run/netns/{name} bash");
        }
        println!("and try, in the client:");
        println!("  curl --haproxy-protocol http://{VIP_V4}:{PLAIN}/headers");
        println!("Foreword writes to {}/foreword.log.", folder.display());
        println!("Remove everything by:");
        println!("  kill {} {}; sleep 2", self.foreword, self.server);
        println!("  for name in {client} {node} {backend}; do ip netns del $name; done");
        println!("  rm -r {}", folder.display());
        std::mem::forget(lab);
    }
}
