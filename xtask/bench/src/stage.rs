//! One contender in its own network, with its own server, ready to be measured again and again.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use netlab::wait_until;

use super::cpu::{self, Cpus};
use super::load;
use super::network::{Network, Place};
use super::plan::{Contender, Setup};
use super::proxy::{Binaries, Proxy};
use super::server::Server;

/// How long a contender may take until the first connection gets through.
const START: Duration = Duration::from_secs(20);

/// Connections that are made before anything is measured.
const WARM_UP: usize = 64;

/// What a stage is made from.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Who runs where.
    pub cpus: Cpus,
    /// What was built.
    pub binaries: Binaries,
    /// For files that proxies want.
    pub folder: PathBuf,
}

/// Everything that a measure of one contender needs.
#[derive(Debug)]
pub struct Stage {
    setup: Setup,
    contender: Contender,
    environment: Environment,
    // In the order in which they have to end.
    proxy: Option<Proxy>,
    server: Server,
    network: Network,
    commands: Vec<String>,
}

impl Stage {
    /// Makes the network and the server, starts the contender, and sends a connection through.
    pub fn new(setup: Setup, contender: Contender, environment: &Environment) -> Result<Self> {
        let network = Network::new(setup, contender)?;
        let server = Server::start(network.listeners()?, environment.cpus.load)?;
        let commands = network.divert_to(contender)?;
        let environment = environment.clone();
        let mut stage =
            Self { setup, contender, environment, proxy: None, server, network, commands };
        stage.restart()?;
        Ok(stage)
    }

    /// Who is measured.
    pub fn contender(&self) -> Contender {
        self.contender
    }

    /// Ends the contender and starts it anew.
    pub fn restart(&mut self) -> Result<()> {
        self.proxy = None;
        let Environment { binaries, folder, .. } = &self.environment;
        self.proxy = Proxy::start(&self.network, self.setup, self.contender, binaries, folder)?;
        self.wait_until_open()?;
        // A proxy may have started further processes by now.
        self.pin_proxy(self.environment.cpus.proxy)?;
        self.load(|target| load::idle(target, WARM_UP)).map(drop)
    }

    /// Ends early where waiting can't help: the contender has ended, or does its work wrongly.
    fn wait_until_open(&mut self) -> Result<()> {
        let target = self.target();
        let mut attempt = Err(anyhow!("no attempt was made"));
        let mut complaint = None;
        let waited = wait_until(START, "a connection through the contender", || {
            attempt = self.network.client().run(|| load::idle(target, 1));
            complaint = self.server.take_complaint();
            let has_ended = self.proxy.as_mut().is_some_and(|proxy| !proxy.is_running());
            attempt.is_ok() || complaint.is_some() || has_ended
        });
        if let Some(complaint) = complaint {
            bail!("the server complains: {complaint}");
        }
        attempt.and(waited).with_context(|| {
            let output = self.proxy.as_ref().map(Proxy::output).unwrap_or_default();
            format!("it does not work; it has written:\n{output}")
        })
    }

    /// Runs a load in the client's namespace, on the load's CPU. Whatever the server complains of
    /// is an error as well.
    pub fn load<T: Send>(&self, work: impl FnOnce(SocketAddrV4) -> Result<T> + Send) -> Result<T> {
        self.load_at(self.target(), work)
    }

    /// [`Self::load`] towards any address.
    pub fn load_at<T: Send>(
        &self,
        target: SocketAddrV4,
        work: impl FnOnce(SocketAddrV4) -> Result<T> + Send,
    ) -> Result<T> {
        let cpu = self.environment.cpus.load;
        let outcome = self.network.client().run(|| {
            cpu::pin_thread(cpu)?;
            work(target)
        });
        match (outcome, self.server.take_complaint()) {
            (outcome, None) => outcome,
            (Ok(_), Some(complaint)) => bail!("the server complains: {complaint}"),
            (Err(error), Some(complaint)) => {
                Err(error.context(format!("the server complains: {complaint}")))
            }
        }
    }

    /// Keeps the proxy on a CPU; without one does nothing.
    pub fn pin_proxy(&self, cpu: usize) -> Result<()> {
        self.proxy.as_ref().map_or(Ok(()), |proxy| proxy.pin(cpu))
    }

    /// Who runs where.
    pub fn cpus(&self) -> Cpus {
        self.environment.cpus
    }

    /// The proxy's processes; none without one.
    pub fn processes(&self) -> Result<Vec<u32>> {
        self.proxy.as_ref().map_or(Ok(Vec::new()), Proxy::processes)
    }

    /// The addresses.
    pub fn place(&self) -> Place {
        self.network.place()
    }

    /// Where the clients connect to.
    fn target(&self) -> SocketAddrV4 {
        match self.contender {
            Contender::Direct => self.place().past,
            _ => self.place().service,
        }
    }

    /// Everything that makes this contender what it is, as it would be typed.
    pub fn configuration(&self) -> String {
        let proxy = self.proxy.as_ref().map(Proxy::configuration).unwrap_or_default();
        let commands = self.commands.iter().map(|line| format!("{line}\n"));
        commands.collect::<String>() + proxy
    }
}
