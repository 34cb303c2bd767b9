//! Active checks of upstreams whose connections fail. Failures of clients' connections only make an
//! address a suspect; we then connect to it ourselves once a second, and send nothing. While that fails the
//! address is down, and initial SYNs to it are refused, whoever sends them: no client's connection is spent
//! on finding out, and a load balancer's check every few seconds keeps failing.

use std::collections::{HashMap, HashSet};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use proxy_common::Reason;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::Service;
use crate::address::{OriginalDst, UpstreamAddr};
use crate::config::settings::{Rule, UpstreamAddress, WhenDown};
use crate::operate::report::DownUpstream;
use crate::relay::is_upstream_fault;
use crate::steer::Down;
use crate::sys::socket::{self, ConnectMode};

/// How long an address may take to answer. A lost packet is left to the next check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a failure counts that may be due to the client's address, which our own checks don't have.
const CLIENT_FAILURE_TTL: Duration = Duration::from_secs(10);

/// An address that no rule names is no longer checked once nobody has connected to it for so long.
const UNUSED_FOR: Duration = Duration::from_secs(600);

/// The log line for an address that is reached again.
const UP: &str = "an upstream is up again";

/// The outcome of a check.
pub type CheckResult = (UpstreamAddr, io::Result<()>);

/// The checks in flight, and the addresses that are down.
#[derive(Debug)]
pub struct ActiveChecks {
    in_flight: HashSet<UpstreamAddr>,
    down: HashMap<UpstreamAddr, DownSince>,
    result: UnboundedSender<CheckResult>,
    results: UnboundedReceiver<CheckResult>,
}

#[derive(Clone, Copy, Debug)]
struct DownSince {
    since: Instant,
    why: Reason,
}

impl ActiveChecks {
    /// Nothing is down yet.
    pub fn new() -> Self {
        let (result, results) = unbounded_channel();
        Self { in_flight: HashSet::new(), down: HashMap::new(), result, results }
    }

    /// The next result. Cancel-safe.
    pub async fn next(&mut self) -> CheckResult {
        match self.results.recv().await {
            Some(result) => {
                self.in_flight.remove(&result.0);
                result
            }
            // Never: we hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// Starts a check of an address, unless one is in flight. Needs a tokio runtime.
    fn begin(&mut self, address: UpstreamAddr, mark: Option<u32>) {
        if self.in_flight.insert(address) {
            let result = self.result.clone();
            tokio::spawn(async move {
                let reached = reach(address, mark).await;
                // The run may have ended.
                let _ = result.send((address, reached));
            });
        }
    }

    fn is_down(&self, address: UpstreamAddr) -> bool {
        self.down.contains_key(&address)
    }
}

/// Connects, and resets the connection before anything is sent.
async fn reach(address: UpstreamAddr, mark: Option<u32>) -> io::Result<()> {
    let to = address.get();
    let stream = socket::connect(socket::upstream(to, mark, ConnectMode::Plain)?, to)?;
    let stream = TcpStream::from_std(stream)?;
    timeout(CHECK_TIMEOUT, stream.writable()).await.map_err(|_| ErrorKind::TimedOut)??;
    stream.take_error()?.map_or(Ok(()), Err)
}

impl Service {
    /// Starts checks of suspects and of what is down; to be called once a second.
    pub(super) fn check_upstreams(&mut self) {
        let suspects = self.relay.health().suspects(Instant::now());
        let down: Vec<_> = self.checks.down.keys().copied().collect();
        for address in down {
            if !suspects.contains_key(&address) {
                // A client's connection has succeeded.
                self.mark_up(address, UP);
            } else if self.is_unused(address) {
                self.mark_up(address, "an upstream is no longer tried, since nobody aims at it");
            }
        }
        for (address, failing) in self.relay.health().suspects(Instant::now()) {
            let is_old = failing.as_client && failing.last.elapsed() >= CLIENT_FAILURE_TTL;
            if is_old && self.checks.is_down(address) {
                self.mark_up(
                    address,
                    "clients may try an upstream again: it may have refused only one of them",
                );
            } else {
                self.checks.begin(address, self.steering.upstream_mark());
            }
        }
        self.refuse_down();
    }

    /// Acts on the outcome of a check.
    pub(super) fn apply_check_result(&mut self, (address, reached): CheckResult) {
        match reached {
            Ok(()) => self.mark_up(address, UP),
            // The failure is our own and says nothing about the upstream.
            Err(error) if !is_upstream_fault(&error) => {
                tracing::debug!(%address, %error, "an upstream can't be tried");
            }
            Err(_) => self.mark_down(address),
        }
        self.refuse_down();
    }

    /// Whether nobody has connected to an address for long, and no rule names it: a pod that is gone for
    /// good would be checked for ever.
    fn is_unused(&self, address: UpstreamAddr) -> bool {
        let is_new =
            self.checks.down.get(&address).is_none_or(|it| it.since.elapsed() < UNUSED_FOR);
        let names = |rule: &Rule| self.names.addresses(&rule.upstream.address).contains(&address);
        if is_new || self.settings.rules.iter().any(names) {
            return false;
        }
        let aimed = self.steering.last_refused(OriginalDst::new(address.get()));
        matches!(aimed, Ok(aimed) if aimed.is_none_or(|ago| ago >= UNUSED_FOR))
    }

    /// Takes an address for up again.
    fn mark_up(&mut self, address: UpstreamAddr, what: &str) {
        self.relay.health().reached(address);
        if let Some(DownSince { since, .. }) = self.checks.down.remove(&address) {
            let after = since.elapsed();
            tracing::info!(upstream = %address, ?after, "{what}");
        }
    }

    fn mark_down(&mut self, address: UpstreamAddr) {
        let suspects = self.relay.health().suspects(Instant::now());
        // It may have been reached meanwhile.
        let Some(failing) = suspects.get(&address) else { return };
        let why = failing.why;
        if !self.checks.is_down(address) {
            tracing::warn!(upstream = %address, %why, "an upstream is down");
            self.checks.down.insert(address, DownSince { since: Instant::now(), why });
        }
    }

    /// Has the eBPF programs refuse connections to upstreams that are down.
    fn refuse_down(&mut self) {
        let rules = self.settings.rules.iter();
        let rules = rules.filter(|rule| rule.upstream.when_down == WhenDown::Refuse);
        let (names, checks) = (&self.names, &self.checks);
        let refused = rules.flat_map(|rule| {
            let upstream = &rule.upstream.address;
            let destinations: Vec<_> = match upstream {
                UpstreamAddress::Original => {
                    let down = checks.down.keys().map(|address| OriginalDst::new(address.get()));
                    let own = down.filter(|destination| rule.narrowness(*destination).is_some());
                    own.map(Down::Destination).collect()
                }
                UpstreamAddress::Fixed(_) | UpstreamAddress::Named(_) => {
                    let addresses = names.addresses(upstream);
                    let all =
                        !addresses.is_empty() && addresses.iter().all(|it| checks.is_down(*it));
                    all.then_some(Down::Upstream(upstream)).into_iter().collect()
                }
            };
            destinations
        });
        let refused: Vec<_> = refused.collect();
        if let Err(error) = self.steering.set_down(refused) {
            tracing::warn!(error = %format!("{error:#}"), "upstreams that are down are not refused");
        }
    }

    /// The addresses of a rule's upstream that are down.
    pub(super) fn down(&self, rule: &Rule) -> Vec<DownUpstream> {
        let upstream = &rule.upstream.address;
        let is_its_own = |address: UpstreamAddr| match upstream {
            UpstreamAddress::Original => rule.narrowness(OriginalDst::new(address.get())).is_some(),
            UpstreamAddress::Fixed(_) | UpstreamAddress::Named(_) => {
                self.names.addresses(upstream).contains(&address)
            }
        };
        let down = self.checks.down.iter().filter(|(address, _)| is_its_own(**address));
        let mut down: Vec<_> = down
            .map(|(address, DownSince { since, why })| DownUpstream {
                address: address.to_string(),
                seconds: since.elapsed().as_secs(),
                why: why.name().to_owned(),
            })
            .collect();
        down.sort_by(|one, other| one.address.cmp(&other.address));
        down
    }
}
