//! The HTTP server behind the node: nginx, or where there is none the smallest stand-in.
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
use netlab::{Daemon, Netns, wait_until};

use super::client::first_words;
use super::plain;
use super::stand_in::StandIn;
use crate::ui;

/// Plain HTTP.
pub const PLAIN: u16 = 8080;
/// HTTP that expects a PROXY header.
pub const PROXIED: u16 = 8081;
/// HTTPS that expects a PROXY header before the TLS handshake.
pub const PROXIED_TLS: u16 = 8443;

/// The server in use.
pub struct Server<'a> {
    netns: &'a Netns,
    kind: Kind,
    /// Connections made by [`Self::connections`] itself.
    own: Cell<u64>,
}

enum Kind {
    Nginx { daemon: Daemon, tls: bool },
    StandIn(#[expect(dead_code, reason = "held for its drop")] StandIn),
}

impl<'a> Server<'a> {
    /// Starts nginx, if it is there, with its files in `folder`.
    pub fn start(netns: &'a Netns, folder: &Path) -> Result<Self> {
        let kind = if which::which("nginx").is_ok() {
            let tls = make_certificate(folder)?;
            Kind::Nginx { daemon: start_nginx(netns, folder, tls)?, tls }
        } else {
            Kind::StandIn(StandIn::start(netns, PLAIN, PROXIED)?)
        };
        let server = Self { netns, kind, own: Cell::new(0) };
        wait_until(Duration::from_secs(10), "the HTTP server", || server.connections().is_ok())
            .with_context(|| server.output())?;
        Ok(server)
    }

    /// What it is, for the report.
    pub fn name(&self) -> String {
        match self.kind {
            Kind::Nginx { .. } => first_words("nginx", "-v", 3).replace("nginx version: ", ""),
            Kind::StandIn(_) => "a built-in HTTP server in nginx's place".to_owned(),
        }
    }

    /// What it is, in a word.
    pub fn short_name(&self) -> &'static str {
        match self.kind {
            Kind::Nginx { .. } => "nginx",
            Kind::StandIn(_) => "the built-in server",
        }
    }

    /// Whether [`PROXIED_TLS`] is served.
    pub fn has_tls(&self) -> bool {
        matches!(self.kind, Kind::Nginx { tls: true, .. })
    }

    /// Connections accepted so far on all ports, those for this question excepted.
    pub fn connections(&self) -> Result<u64> {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, PLAIN));
        let stream = plain::dial(self.netns, None, target)?;
        self.own.set(self.own.get() + 1);
        let reply = plain::exchange(stream, b"GET /connections HTTP/1.0\r\n\r\n");
        let text = reply.text().unwrap_or_default();
        let count = text.lines().last().and_then(|line| line.parse::<u64>().ok());
        let count = count.with_context(|| format!("the HTTP server said `{}`", reply.shown()))?;
        Ok(count.saturating_sub(self.own.get()))
    }

    /// What the process has written.
    fn output(&self) -> String {
        match &self.kind {
            Kind::Nginx { daemon, .. } => daemon.output(),
            Kind::StandIn(_) => String::new(),
        }
    }

    /// Leaves the process running, and gives back its id. The stand-in has none, and ends.
    pub fn keep(self) -> Option<u32> {
        let Kind::Nginx { daemon, .. } = self.kind else { return None };
        let pid = daemon.pid();
        std::mem::forget(daemon);
        Some(pid)
    }
}

fn start_nginx(netns: &Netns, folder: &Path, tls: bool) -> Result<Daemon> {
    let name = folder.display().to_string();
    let listen = if tls {
        format!(
            "        listen {PROXIED_TLS} ssl proxy_protocol;\n        \
             listen [::]:{PROXIED_TLS} ssl proxy_protocol;\n        \
             ssl_certificate {name}/certificate.pem;\n        ssl_certificate_key {name}/key.pem;"
        )
    } else {
        String::new()
    };
    let settings = include_str!("nginx.conf").replace("@FOLDER@", &name).replace("@TLS@", &listen);
    let file = folder.join("nginx.conf");
    fs::write(&file, settings).with_context(|| format!("cannot write {}", file.display()))?;
    // In a session of its own, so that a Ctrl-C ends it not before the demo does, and so that it
    // can outlive the terminal.
    let mut command = netns.command("setsid");
    command.arg("nginx").arg("-c").arg(&file).arg("-e").arg(folder.join("error.log"));
    Daemon::start("nginx", command)
}

/// Has openssl make a certificate for nobody in particular; false where there is no openssl.
fn make_certificate(folder: &Path) -> Result<bool> {
    if which::which("openssl").is_err() {
        return Ok(false);
    }
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-nodes", "-days", "2", "-subj", "/CN=foreword-demo"]);
    command.arg("-keyout").arg(folder.join("key.pem"));
    command.arg("-out").arg(folder.join("certificate.pem"));
    let output = command.output().context("cannot run openssl")?;
    if !output.status.success() {
        ui::warn(&format!("no TLS: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(output.status.success())
}
