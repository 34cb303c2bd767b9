//! The HTTP server behind the node: nginx.
//!
//! `GET /headers` tells who is connected. `GET /connections` on the plain port counts the
//! connections that the server has accepted, this one included.

use std::cell::Cell;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use netlab::{Client, Daemon, Netns, wait_until};

use crate::cargo;

/// Plain HTTP.
pub const PLAIN: u16 = 8080;
/// HTTP that expects a PROXY header.
pub const PROXIED: u16 = 8081;
/// HTTPS that expects a PROXY header before the TLS handshake.
pub const PROXIED_TLS: u16 = 8443;

/// The running server.
pub struct Server<'a> {
    netns: &'a Netns,
    daemon: Daemon,
    /// Connections made by [`Self::connections`] itself.
    own: Cell<u64>,
}

impl<'a> Server<'a> {
    /// Starts nginx, with its files in `folder`.
    pub fn start(netns: &'a Netns, folder: &Path) -> Result<Self> {
        make_certificate(folder)?;
        let server = Self { netns, daemon: start_nginx(netns, folder)?, own: Cell::new(0) };
        wait_until(Duration::from_secs(10), "the HTTP server", || server.connections().is_ok())
            .with_context(|| server.daemon.output())?;
        Ok(server)
    }

    /// Connections accepted so far on all ports, those for this question excepted.
    pub fn connections(&self) -> Result<u64> {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, PLAIN));
        let mut client = Client::try_connect(self.netns, target.ip(), target)?;
        self.own.set(self.own.get() + 1);
        client.offer(b"GET /connections HTTP/1.0\r\n\r\n");
        let reply = client.rest();
        let answer = String::from_utf8_lossy(&reply.bytes);
        let count = answer.lines().last().and_then(|line| line.parse::<u64>().ok());
        let count = count.with_context(|| format!("the HTTP server said {reply:?}"))?;
        Ok(count.saturating_sub(self.own.get()))
    }

    /// Leaves the process running, and returns its id.
    pub fn keep(self) -> u32 {
        let pid = self.daemon.pid();
        std::mem::forget(self.daemon);
        pid
    }
}

fn start_nginx(netns: &Netns, folder: &Path) -> Result<Daemon> {
    let name = folder.display().to_string();
    let settings = include_str!("nginx.conf").replace("@FOLDER@", &name);
    let file = folder.join("nginx.conf");
    fs::write(&file, settings).with_context(|| format!("cannot write {}", file.display()))?;
    // In a session of its own, so that a Ctrl-C ends it not before the demo does, and so that it
    // can outlive the terminal.
    let mut command = netns.command("setsid");
    command.arg("nginx").arg("-c").arg(&file).arg("-e").arg(folder.join("error.log"));
    Daemon::start("nginx", command)
}

/// Has openssl make a self-signed certificate.
fn make_certificate(folder: &Path) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-nodes", "-days", "2", "-subj", "/CN=foreword-demo"]);
    command.arg("-keyout").arg(folder.join("key.pem"));
    command.arg("-out").arg(folder.join("certificate.pem"));
    cargo::output(&mut command).map(drop)
}
