//! Answers to requests over the admin socket and HTTP.

use std::collections::{BTreeMap, HashMap};
use std::process;

use anyhow::Result;
use proxy_common::Reason;
use serde::Serialize;
use serde_json::Value;

use super::Service;
use super::describe::describe;
use super::reload::ReloadTrigger;
use crate::config::settings::FORMER;
use crate::logging;
use crate::operate::admin::{PendingRequest, Request, Response};
use crate::operate::report::connections::Connection;
use crate::operate::report::{Interface, Repairs, Rule, StalledWorker, Status, Traffic};
use crate::steer::pinned::TrackedSide;
use crate::steer::{self, AttachFailure, Attached};

impl Service {
    /// Answers a request. A failure is reported to the client, and stops nothing.
    pub fn answer(&mut self, question: PendingRequest) {
        if question.is_abandoned() {
            return;
        }
        let answer = match &question.ask {
            Request::Status => self.status().and_then(value),
            Request::Scrape => self.scrape().and_then(value),
            Request::Connections => self.connections().and_then(value),
            Request::Cutover { rule, quiet } => {
                self.cutover(rule.as_deref(), *quiet).and_then(value)
            }
            Request::Tighten { rule, quiet, force } => {
                self.tighten(rule.as_deref(), *quiet, *force).and_then(value)
            }
            // The answer follows when the reload is done.
            Request::Reload => return self.begin_reload(ReloadTrigger::PendingRequest(question)),
        };
        question.answer(match answer {
            Ok(value) => Response::Response(value),
            Err(error) => Response::Error(format!("{error:#}")),
        });
    }

    fn status(&self) -> Result<Status> {
        let drops = self.steering.drops()?;
        let dropped = Reason::ALL.iter().zip(drops).filter(|(_, count)| *count > 0);
        let packets = self.steering.stats()?.named();
        let (memory, memory_limit) = self.relay.memory();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: self.steering.instance(),
            process: process::id(),
            state: self.state,
            since: self.since.as_secs(),
            config: self.reloading.as_ref().map(|reloading| reloading.path().to_owned()),
            reloads: self.reloads,
            workers: self.relay.count(),
            stalled: self.relay.stalled().map(StalledWorker::from).collect(),
            limit: self.relay.limit(),
            memory,
            memory_limit,
            interfaces: self.interfaces(),
            rules: self.rules(),
            packets: packets.map(|(name, count)| (name.to_owned(), count)).into(),
            dropped_packets: dropped.map(|(why, count)| (why.name().to_owned(), count)).collect(),
            unmatched: Traffic::from(&self.relay.unmatched()),
            lost_lines: logging::lost(),
            repairs: Repairs::from(self.steering.repairs()),
        })
    }

    /// The status for a client that stores it: the counters of rules that are gone and have no
    /// connections are folded into one sum afterwards.
    fn scrape(&mut self) -> Result<Status> {
        let status = self.status()?;
        let ended =
            status.rules.iter().filter(|rule| rule.does.is_none() && rule.traffic.open == 0);
        self.relay.mark_seen(ended.map(|rule| rule.name.as_str()));
        Ok(status)
    }

    /// Interfaces that we are attached to, followed by those that could not be attached to.
    fn interfaces(&self) -> Vec<Interface> {
        let attached = self.steering.attached().map(Interface::from);
        attached.chain(self.steering.failures().map(Interface::from)).collect()
    }

    /// The rules in their order, followed by former ones that still have connections, and the sum of all
    /// others.
    fn rules(&self) -> Vec<Rule> {
        let counts = self.relay.counts_by_rule();
        let mut traffic: BTreeMap<_, _> =
            counts.map(|counts| (counts.rule, Traffic::from(&counts.counts))).collect();
        let rules = self.settings.rules.iter().map(|rule| Rule {
            name: rule.name.clone(),
            does: Some(describe(rule)),
            lookup: self.names.lookup(rule),
            down: self.down(rule),
            traffic: traffic.remove(rule.name.as_str()).unwrap_or_default(),
        });
        let mut rules: Vec<_> = rules.collect();
        let gone = traffic.into_iter();
        rules.extend(gone.map(|(name, traffic)| Rule {
            name: name.to_owned(),
            traffic,
            ..Rule::default()
        }));
        let former = self.relay.former();
        rules.extend(former.map(|counts| Rule {
            name: FORMER.to_owned(),
            traffic: Traffic::from(&counts),
            ..Rule::default()
        }));
        rules
    }

    fn connections(&self) -> Result<Vec<Connection>> {
        let tracked = self.steering.tracked()?;
        let rtts: HashMap<_, _> =
            tracked.iter().filter_map(|socket| Some((socket.side, socket.rtt?))).collect();
        let connections = self.relay.open_connections()?.into_iter().map(|connection| {
            let side =
                TrackedSide::Inbound { peer: connection.peer, destination: connection.destination };
            Connection::new(connection, rtts.get(&side).copied())
        });
        Ok(connections.collect())
    }
}

fn value(answer: impl Serialize) -> Result<Value> {
    Ok(serde_json::to_value(answer)?)
}

impl From<Attached<'_>> for Interface {
    fn from(attached: Attached<'_>) -> Self {
        Self {
            name: attached.interface.to_owned(),
            role: attached.role.name().to_owned(),
            hook: attached.hook.to_string(),
            guard: attached.guard.map(|guard| guard.describe().to_owned()),
            failed: None,
        }
    }
}

impl From<&AttachFailure> for Interface {
    fn from(failure: &AttachFailure) -> Self {
        Self {
            name: failure.interface.clone(),
            role: failure.role.name().to_owned(),
            failed: Some(failure.why.clone()),
            ..Self::default()
        }
    }
}

impl From<&steer::Repairs> for Repairs {
    fn from(repairs: &steer::Repairs) -> Self {
        let named = |counts: &BTreeMap<&str, u64>| {
            counts.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
        };
        Self { made: named(&repairs.made), failed: named(&repairs.failed) }
    }
}
