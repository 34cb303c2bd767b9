//! Rules from what policies ask for.
//!
//! A rule of ours says both what is read and what is written; in kgateway one policy says the
//! first, another the second, and routes say which of them meet. Routes aren't read. So policies
//! are joined only where it can't be otherwise: if there is one backend at most, or one listener
//! configuration for all. Else each has a rule of its own.

use std::collections::BTreeSet;

use super::policy::{Asked, Backend, Listener};
use crate::config::settings::{FORMER, Mode};
use crate::config::validate::rules::{LONGEST_NAME, fits_into_name};
use crate::header::Version;

/// A rule, with what is said of its fields.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub name: String,
    pub origin: String,
    /// Empty: blank.
    pub ports: Vec<String>,
    /// Whether they are from a document.
    pub knows_ports: bool,
    pub on_ports: String,
    pub mode: Mode,
    pub trusted: Vec<String>,
    pub on_mode: Option<&'static str>,
    pub version: Option<Version>,
    pub on_version: String,
    pub connect_timeout: Option<String>,
    pub on_upstream: Option<String>,
}

impl Rule {
    /// Whether nobody is trusted, and somebody has to be.
    pub fn needs_trust(&self) -> bool {
        self.mode != Mode::Off && self.trusted.is_empty()
    }
}

pub(super) fn rules(asked: Vec<Asked>) -> Vec<Rule> {
    let mut listeners = Vec::new();
    let mut backends = Vec::new();
    for asked in asked {
        match asked {
            Asked::Listeners(more) => listeners.extend(more),
            Asked::Backend(backend) => backends.push(backend),
            Asked::Nothing => {}
        }
    }
    let mut rules = match (listeners.as_slice(), backends.as_slice()) {
        (listeners, []) => alone(listeners, NO_BACKEND),
        ([], backends) => backends.iter().map(|backend| rule(None, Some(backend))).collect(),
        (listeners, [backend]) => {
            listeners.iter().map(|listener| rule(Some(listener), Some(backend))).collect()
        }
        ([listener @ Listener { port: None, .. }], backends) => {
            backends.iter().map(|backend| one_of(listener, backend)).collect()
        }
        (listeners, backends) => {
            let mut rules = alone(listeners, MANY_BACKENDS);
            rules.extend(backends.iter().map(|backend| rule(None, Some(backend))));
            rules
        }
    };
    set_names_apart(&mut rules);
    rules
}

const NO_BACKEND: &str = "No BackendConfigPolicy asks for a header, so the server gets only the \
                          payload. If it reads headers itself, as kgateway does as long as it has \
                          this policy, write v2";
const MANY_BACKENDS: &str = "Several BackendConfigPolicies ask for headers, and only routes say which \
                             of them is behind these ports. Move its outbound here, and leave its own \
                             rule out";

/// A listener that reads no header needs no rule: its connections pass as they are.
fn alone(listeners: &[Listener], on_version: &str) -> Vec<Rule> {
    let readers = listeners.iter().filter(|listener| listener.mode != Mode::Off);
    readers
        .map(|listener| Rule { on_version: on_version.to_owned(), ..rule(Some(listener), None) })
        .collect()
}

/// A rule for one of several backends of a listener.
fn one_of(listener: &Listener, backend: &Backend) -> Rule {
    let on_ports = format!(
        "those ports of {} from which routes lead to {}",
        listener.targets, backend.targets
    );
    Rule { name: backend.name.clone(), on_ports, ..rule(Some(listener), Some(backend)) }
}

fn rule(listener: Option<&Listener>, backend: Option<&Backend>) -> Rule {
    let origins = [listener.map(|it| &it.origin), backend.map(|it| &it.origin)];
    let origin = origins.into_iter().flatten().cloned().collect::<Vec<_>>().join("; ");
    let port = listener.and_then(|listener| listener.port);
    let name = match (listener, backend) {
        (Some(listener), _) => &listener.name,
        (None, Some(backend)) => &backend.name,
        (None, None) => "",
    };
    Rule {
        name: name.to_owned(),
        origin,
        ports: port.iter().map(ToString::to_string).collect(),
        knows_ports: port.is_some(),
        on_ports: on_ports(listener, backend),
        mode: listener.map_or(Mode::Off, |listener| listener.mode),
        trusted: Vec::new(),
        on_mode: on_mode(listener),
        version: backend.map(|backend| backend.version),
        on_version: backend.map_or_else(String::new, |it| format!("For {}", it.targets)),
        connect_timeout: backend.and_then(|backend| backend.connect_timeout.clone()),
        on_upstream: backend.map(on_upstream),
    }
}

const NO_LISTENER: &str = "No ListenerPolicy is known for these connections, so no header is read: \
                           the source is the client. If a load balancer connects with headers, \
                           write require, and trusted with its addresses.";
const NO_HEADER: &str = "The ListenerPolicy asks for no header here: the source is the client.";

fn on_mode(listener: Option<&Listener>) -> Option<&'static str> {
    match listener.map(|listener| listener.mode) {
        None => Some(NO_LISTENER),
        Some(Mode::Off) => Some(NO_HEADER),
        Some(Mode::Require | Mode::Optional) => None,
    }
}

fn on_ports(listener: Option<&Listener>, backend: Option<&Backend>) -> String {
    match (listener, backend) {
        (Some(listener), _) => {
            let without: Vec<_> = listener.without.iter().map(ToString::to_string).collect();
            let without = match without.as_slice() {
                [] => String::new(),
                ports => format!(", without {}, which perPort configures", ports.join(", ")),
            };
            format!("the ports of {}{without}", listener.targets)
        }
        (None, Some(backend)) => format!("the ports of {}", backend.targets),
        (None, None) => String::new(),
    }
}

fn on_upstream(backend: &Backend) -> String {
    format!(
        "Where clients connect to. If that isn't {}, write its address, such as 10.1.2.3:8080",
        backend.targets
    )
}

/// Rules' names have only characters that fit, are not too long, and differ; none is [`FORMER`].
fn set_names_apart(rules: &mut [Rule]) {
    let mut taken = BTreeSet::from([FORMER.to_owned()]);
    for rule in rules {
        let fitting = |c| if fits_into_name(c) { c } else { '-' };
        let name: String = rule.name.chars().map(fitting).collect();
        let mut unlike = shortened(&name, "");
        for number in 2.. {
            if taken.insert(unlike.clone()) {
                break;
            }
            unlike = shortened(&name, &format!("-{number}"));
        }
        rule.name = unlike;
    }
}

fn shortened(name: &str, suffix: &str) -> String {
    let room = LONGEST_NAME - suffix.len();
    format!("{}{suffix}", name.get(..room).unwrap_or(name))
}
