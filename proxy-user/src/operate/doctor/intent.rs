//! What Foreword is to do on this node, as far as whoever asks has said.

use std::num::NonZeroUsize;

use crate::config::settings::{ConnectionLimits, GuardHook, Hook, Rule, Steering};
use crate::config::{self, Names};

/// Nothing, interfaces, or a whole file.
#[derive(Clone, Debug, Default)]
pub struct Intent {
    /// On which interfaces, and how; `None`: on any that load balancers' traffic could arrive by.
    pub steering: Option<Steering>,
    /// With so many workers; `None`: one for each CPU.
    pub workers: Option<NonZeroUsize>,
    /// Within these limits.
    pub limits: ConnectionLimits,
    /// By these rules; none: nobody has said.
    pub rules: Vec<Rule>,
    /// The addresses of their upstreams' names.
    pub names: Names,
}

impl From<config::Settings> for Intent {
    fn from(settings: config::Settings) -> Self {
        let config::Settings { steering, workers, limits, rules, .. } = settings;
        Self { steering: Some(steering), workers, limits, rules, names: Names::default() }
    }
}

impl Intent {
    /// How it is to be attached to TC.
    pub fn hook(&self) -> Hook {
        self.steering.as_ref().map_or(Hook::Auto, |steering| steering.hook)
    }

    /// Whether it will be attached by tcx, on a kernel that has or has not got it.
    pub fn uses_tcx(&self, has_tcx: bool) -> bool {
        has_tcx && self.hook() != Hook::Clsact
    }

    /// Where the guard is to stand; `None`: there is nothing to guard.
    pub fn guard_hook(&self) -> Option<GuardHook> {
        let hook = self.steering.as_ref().map_or(GuardHook::Auto, |it| it.guard_hook);
        let is_needed = self.rules.is_empty() || self.rules.iter().any(Rule::is_guarded);
        is_needed.then_some(hook)
    }

    /// The rules whose upstreams see clients' addresses.
    pub fn showing_clients(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.shows_clients())
    }
}
