//! A running contender: its process, its configuration, its CPU.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use netlab::{Daemon, Foreword};
use nix::sys::signal::Signal;

use super::cpu;
use super::network::{Network, Place};
use super::plan::{Contender, Setup};

/// How long a peer may take to end.
const STOP: Duration = Duration::from_secs(5);

const HAPROXY: &str = include_str!("proxy/haproxy.cfg");
const HAPROXY_TUNED: &str = include_str!("proxy/haproxy-tuned.cfg");
const NGINX: &str = include_str!("proxy/nginx.conf");
const LISTENER: &str = include_str!("proxy/listener.yaml");

/// What was built for the run.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// `foreword`.
    pub foreword: PathBuf,
    /// Its relay behind a listener, which is an example of its crate.
    pub listener: PathBuf,
}

/// A proxy that runs in its network's node. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    configuration: String,
}

#[derive(Debug)]
enum Process {
    Foreword(Foreword),
    Peer(Daemon),
}

impl Proxy {
    /// Starts a contender; `None` where there is nothing to start. `folder` is for files.
    pub fn start(
        network: &Network,
        setup: Setup,
        contender: Contender,
        binaries: &Binaries,
        folder: &Path,
    ) -> Result<Option<Self>> {
        let Place { service, upstream, client, .. } = network.place();
        let haproxy = &["-db", "-f"][..];
        let nginx = &["-e", "stderr", "-p", ".", "-c"][..];
        let at = service.to_string();
        let (program, options, template) = match contender {
            Contender::Direct => return Ok(None),
            _ if contender == Contender::steered_in(setup) => {
                return Self::attach(network, &binaries.foreword, "on").map(Some);
            }
            Contender::ForewordAnswersOff => {
                return Self::attach(network, &binaries.foreword, "off").map(Some);
            }
            Contender::Foreword | Contender::ForewordOnLo => {
                (binaries.listener.as_path(), &[at.as_str()][..], LISTENER)
            }
            Contender::Haproxy => (Path::new("haproxy"), haproxy, HAPROXY),
            Contender::HaproxyTuned => (Path::new("haproxy"), haproxy, HAPROXY_TUNED),
            Contender::Nginx => (Path::new("nginx"), nginx, NGINX),
        };
        let transparent = if setup == Setup::Transparent { " transparent" } else { "" };
        let configuration = template
            .replace("{TRANSPARENT}", transparent)
            .replace("{CLIENT}", &client.to_string())
            .replace("{UPSTREAM}", &upstream.to_string());
        let name = format!("{setup:?}-{contender:?}").to_lowercase();
        let file = folder.join(&name);
        fs::write(&file, &configuration)
            .with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = network.node().command(program);
        command.args(options).arg(&file).current_dir(folder);
        let process = Process::Peer(Daemon::start(&name, command)?);
        Ok(Some(Self { process, configuration }))
    }

    fn attach(network: &Network, binary: &Path, answers: &str) -> Result<Self> {
        let Place { interface, client, service, upstream, .. } = network.place();
        let to = if upstream == service { "original".to_owned() } else { upstream.to_string() };
        let line = format!(
            "{interface} --port {} --inbound require --trust {client} --outbound v2 \
             --upstream {to} --guard-answers {answers} --workers 1",
            service.port(),
        );
        let words: Vec<&str> = line.split_whitespace().collect();
        let foreword = Foreword::attach(network.node(), binary, &words)?;
        let configuration = format!("foreword attach {line}\n");
        Ok(Self { process: Process::Foreword(foreword), configuration })
    }

    /// Its configuration file or command line.
    pub fn configuration(&self) -> &str {
        &self.configuration
    }

    /// What it has written.
    pub fn output(&self) -> String {
        self.daemon().output()
    }

    /// All of its processes.
    pub fn processes(&self) -> Result<Vec<u32>> {
        cpu::family(self.daemon().pid())
    }

    /// Moves all of its threads to one CPU.
    pub fn pin(&self, cpu: usize) -> Result<()> {
        cpu::pin_processes(&self.processes()?, cpu)
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        match &mut self.process {
            Process::Foreword(foreword) => foreword.is_running(),
            Process::Peer(daemon) => daemon.is_running(),
        }
    }

    fn daemon(&self) -> &Daemon {
        match &self.process {
            Process::Foreword(foreword) => foreword,
            Process::Peer(daemon) => daemon,
        }
    }
}

impl Drop for Proxy {
    /// A peer that is killed would leave its workers behind; Foreword's own drop does the same.
    fn drop(&mut self) {
        if let Process::Peer(daemon) = &mut self.process
            && daemon.is_running()
        {
            let _ = daemon.signal(Signal::SIGTERM);
            let _ = daemon.wait(STOP);
        }
    }
}
