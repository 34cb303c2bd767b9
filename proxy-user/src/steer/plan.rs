//! Which programs belong where, by the settings and the kernel.

use proxy_common::names::{ANSWER, EGRESS, STEER, SYNACK};

use super::hook::HookUsed;
use super::interface::Role;
use super::refusal::Refusal;
use crate::config::Settings;
use crate::config::settings::{GuardHook, Rule, WhenAbsent};

/// What is to be loaded and attached.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent choice")]
pub struct Plan {
    /// How to attach to TC.
    pub hook: HookUsed,
    /// Where the guard is to run; `None` if there is nothing to guard.
    pub guard: Option<GuardHook>,
    /// Whether SYN-ACKs that bypass steering are dropped.
    pub synack: bool,
    /// Whether upstreams answer to clients' addresses.
    pub answers: bool,
    /// Whether ports are held while no Foreword runs.
    pub hold: bool,
    /// Whether this node's pods may be clients.
    pub pods: bool,
}

impl Plan {
    /// The most links that an interface has. Their descriptors must be closed early when the process
    /// dies.
    pub const LINKS: usize = 5;

    /// What the settings need, on this kernel.
    pub fn new(settings: &Settings) -> Result<Self, Refusal> {
        let rules = &settings.rules;
        Ok(Self {
            hook: HookUsed::choose(settings.steering.hook)?,
            guard: rules.iter().any(Rule::is_guarded).then_some(settings.steering.guard_hook),
            synack: rules.iter().any(Rule::may_guard_answers),
            answers: rules.iter().any(Rule::shows_clients),
            hold: rules.iter().any(|rule| rule.when_absent == WhenAbsent::Drop),
            pods: rules.iter().any(|rule| !rule.inbound.hairpin.is_empty()),
        })
    }

    /// The TC programs of an interface, in the order in which they are attached: `foreword_steer`
    /// last.
    pub fn classifiers(self, role: Role) -> impl Iterator<Item = &'static str> {
        let is_protected = role == Role::Protected;
        let all = [
            (SYNACK, self.synack && is_protected),
            (ANSWER, self.answers),
            (EGRESS, self.answers),
            (STEER, is_protected),
        ];
        all.into_iter().filter_map(|(name, is_wanted)| is_wanted.then_some(name))
    }
}
