//! The names of upstreams: looked up before the start, and again as often as their rules ask for. Nothing
//! waits for that: the addresses of a name stay until other ones are found.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::slice;
use std::time::Duration;

use tokio::time::Instant;

use super::Service;
use super::resolver::{DEADLINE, LookupResult, Resolver, timed_out};
use crate::address::UpstreamAddr;
use crate::config::settings::{Resolve, Rule, Settings, UpstreamAddress, UpstreamName};
use crate::config::{Found, Names};
use crate::operate::report::{Lookup, upstreams};

/// The names of the rules' upstreams, and what is known of each.
#[derive(Debug)]
pub struct KnownNames {
    pub resolver: Resolver,
    known: BTreeMap<UpstreamName, Known>,
}

#[derive(Debug)]
struct Known {
    addresses: Vec<UpstreamAddr>,
    /// When it was last found.
    found: Instant,
    /// When the last look-up ended, whether it succeeded or not.
    answered: Instant,
    /// When the look-up in flight began.
    asked: Option<Instant>,
    /// Why the last look-up failed.
    failed: Option<String>,
}

impl KnownNames {
    /// These were found just now.
    pub fn new(resolver: Resolver, names: &Names) -> Self {
        let mut this = Self { resolver, known: BTreeMap::new() };
        this.keep(names);
        this
    }

    /// From now on the rules have these names and no others.
    pub fn keep(&mut self, names: &Names) {
        let earlier = std::mem::take(&mut self.known);
        let is_named: BTreeSet<_> = names.iter().map(|(name, _)| name.clone()).collect();
        self.known = earlier.into_iter().filter(|(name, _)| is_named.contains(name)).collect();
        for (name, addresses) in names.iter() {
            let new = || Known::new(addresses.to_vec());
            self.known.entry(name.clone()).or_insert_with(new);
        }
    }

    /// What is known of all of them, as if it had just been found.
    pub fn found(&self) -> Found {
        let found = |known: &Known| known.addresses.iter().map(|address| address.get()).collect();
        self.known.iter().map(|(name, known)| (name.clone(), Ok(found(known)))).collect()
    }

    /// The state of a rule's upstream, if it has a name.
    pub fn lookup(&self, rule: &Rule) -> Option<Lookup> {
        let known = self.known.get(rule.upstream_name()?)?;
        Some(Lookup {
            addresses: known.addresses.iter().map(ToString::to_string).collect(),
            seconds: known.found.elapsed().as_secs(),
            failed: known.failed.clone(),
        })
    }

    /// The addresses of an upstream, as far as they are the same for all connections.
    pub fn addresses<'a>(&'a self, of: &'a UpstreamAddress) -> &'a [UpstreamAddr] {
        match of {
            UpstreamAddress::Original => &[],
            UpstreamAddress::Fixed(address) => slice::from_ref(address),
            UpstreamAddress::Named(name) => {
                self.known.get(name).map_or(&[], |known| known.addresses.as_slice())
            }
        }
    }

    /// Asks for all of them again.
    pub fn ask_again(&mut self) {
        for (name, known) in &mut self.known {
            known.ask(&mut self.resolver, name);
        }
    }
}

impl Known {
    fn new(addresses: Vec<UpstreamAddr>) -> Self {
        let now = Instant::now();
        Self { addresses, found: now, answered: now, asked: None, failed: None }
    }

    fn ask(&mut self, resolver: &mut Resolver, name: &UpstreamName) {
        self.asked = Some(Instant::now());
        resolver.ask(name);
    }

    /// Its earlier addresses are kept. Says so once, however often that happens.
    fn fail(&mut self, name: &UpstreamName, why: String) {
        if self.failed.as_ref() != Some(&why) {
            let addresses = upstreams(&self.addresses);
            tracing::warn!(%name, addresses, why, "a name can't be looked up; its addresses are kept");
        }
        self.failed = Some(why);
    }
}

/// How often a name is looked up: as often as one of its rules wants it.
fn interval(settings: &Settings, name: &UpstreamName) -> Option<Duration> {
    let rules = settings.rules.iter().filter(|rule| rule.upstream_name() == Some(name));
    let intervals = rules.filter_map(|rule| match rule.upstream.resolve {
        Resolve::Every(time) => Some(time),
        Resolve::Once => None,
    });
    intervals.min()
}

/// What was found, as the rules that name it judge it.
fn judge(
    settings: &Settings,
    name: &UpstreamName,
    found: &[SocketAddr],
) -> Result<Vec<UpstreamAddr>, String> {
    let mut rules = settings.rules.iter().filter(|rule| rule.upstream_name() == Some(name));
    rules.try_fold(Vec::new(), |_, rule| {
        rule.upstream.judge(found).map_err(|unfit| unfit.to_string())
    })
}

/// Whether two lists have the same addresses: a resolver may give them in another order each time.
fn are_same(one: &[UpstreamAddr], other: &[UpstreamAddr]) -> bool {
    one.len() == other.len() && one.iter().all(|address| other.contains(address))
}

impl Service {
    /// Asks for the names whose time has come; to be called once a second.
    pub(super) fn renew_names(&mut self) {
        let KnownNames { resolver, known } = &mut self.names;
        for (name, known) in known {
            match (known.asked, interval(&self.settings, name)) {
                (Some(asked), _) if asked.elapsed() >= DEADLINE => {
                    known.fail(name, timed_out());
                    known.ask(resolver, name);
                }
                (None, Some(interval)) if known.answered.elapsed() >= interval => {
                    known.ask(resolver, name);
                }
                _ => {}
            }
        }
    }

    /// Acts on the result of a look-up.
    pub(super) fn take_answer(&mut self, (name, answer): LookupResult) {
        self.go_on_reloading(&name, &answer);
        let Some(known) = self.names.known.get_mut(&name) else { return };
        known.asked = None;
        known.answered = Instant::now();
        match answer.and_then(|found| judge(&self.settings, &name, &found)) {
            Err(why) => known.fail(&name, why),
            Ok(addresses) => {
                known.found = Instant::now();
                if known.failed.take().is_some() {
                    tracing::info!(%name, "the name is looked up again");
                }
                if !are_same(&addresses, &known.addresses) {
                    let (from, to) = (upstreams(&known.addresses), upstreams(&addresses));
                    tracing::info!(%name, from, to, "an upstream's name has other addresses");
                    self.relay.set_addresses(&name, &addresses);
                    known.addresses = addresses;
                }
            }
        }
    }
}
