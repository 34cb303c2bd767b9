//! The step from `optional` to `require` at run time. It lasts until the process ends or the file says
//! something other than `optional`: a reload for another reason must not loosen a rule.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Service;
use crate::config::Settings;
use crate::config::settings::{Mode, Rule, ServerFirst};
use crate::logging::say;
use crate::operate::report::cutover::Cutover;

/// The rules that were tightened, by name.
#[derive(Clone, Debug, Default)]
pub struct Tightened(BTreeSet<String>);

impl Tightened {
    /// Tightens new settings where the file still says `optional`. Returns what is still tightened, to be
    /// kept when the settings are applied.
    #[must_use]
    pub fn keep(&self, settings: &mut Settings) -> Self {
        let is_optional = |name: &&String| {
            let mut rules = settings.rules.iter();
            rules.any(|rule| rule.name == **name && rule.inbound.mode == Mode::Optional)
        };
        let kept: BTreeSet<_> = self.0.iter().filter(is_optional).cloned().collect();
        for name in &kept {
            require(settings, name);
        }
        Self(kept)
    }

    /// What differs from the file, a line for each rule.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|name| {
            format!("rules.{name}.inbound.mode: still require, by `foreword cutover --tighten`")
        })
    }
}

/// Makes a rule require headers.
fn require(settings: &mut Settings, name: &str) {
    for rule in settings.rules.iter_mut().filter(|rule| rule.name == name) {
        rule.inbound.mode = Mode::Require;
        // With `require`, no server speaks before the header.
        rule.inbound.server_first = ServerFirst::Wait;
    }
}

impl Service {
    /// How far the cut-over of a rule is, or of all.
    pub fn cutover(&self, rule: Option<&str>, quiet: Duration) -> Result<Vec<Cutover>> {
        let rules: Vec<_> = match rule {
            Some(name) => vec![self.rule(name)?],
            None => self.settings.rules.iter().collect(),
        };
        Ok(rules.into_iter().map(|rule| self.judge(rule, quiet)).collect())
    }

    fn judge(&self, rule: &Rule, quiet: Duration) -> Cutover {
        let usage = self.relay.header_usage(&rule.name);
        Cutover::judge(&rule.name, rule.inbound.mode, &usage, quiet, Instant::now())
    }

    fn rule(&self, name: &str) -> Result<&Rule> {
        let found = self.settings.rules.iter().find(|rule| rule.name == name);
        found.with_context(|| {
            let names: Vec<_> = self.settings.rules.iter().map(|rule| rule.name.as_str()).collect();
            format!("no rule is called '{name}'; there are: {}", names.join(", "))
        })
    }

    /// Makes a rule require headers from now on, if all trusted sources send them or `force` is given.
    /// Open connections go on. Returns lines that say how to make it last.
    pub fn tighten(
        &mut self,
        rule: Option<&str>,
        quiet: Duration,
        force: bool,
    ) -> Result<Vec<String>> {
        let rule = match (rule, self.settings.rules.as_slice()) {
            (Some(name), _) => self.rule(name)?,
            (None, [only]) => only,
            (None, _) => bail!("say which rule: foreword cutover RULE --tighten"),
        };
        let name = rule.name.clone();
        match rule.inbound.mode {
            Mode::Require => return Ok(vec![format!("rule {name} requires a header already")]),
            Mode::Off => bail!(
                "rule {name} does not read headers; set inbound.mode: optional first, which refuses \
                 nobody"
            ),
            Mode::Optional => {}
        }
        let judged = self.judge(rule, quiet);
        if !judged.is_ready() && !force {
            bail!("rule {name}: {}; --force tightens it all the same", judged.says);
        }
        let mut settings = self.settings.clone();
        require(&mut settings, &name);
        self.apply(settings)?;
        self.tightened.0.insert(name.clone());
        say(format_args!("tightened: rule {name} requires a header from now on"));
        Ok(vec![
            format!("rule {name} requires a header from now on; open connections go on"),
            self.how_to_keep(&name),
        ])
    }

    fn how_to_keep(&self, name: &str) -> String {
        match &self.reloading {
            Some(reloading) => {
                let file = reloading.path().display();
                format!("to make it last, write `mode: require` below `name: {name}` in {file}")
            }
            None => "to make it last, start it with --inbound require".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::settings as settings_of;

    fn settings(mode: &str) -> Settings {
        let text = format!(
            "interfaces: [eth0]\nrules:\n  - name: web\n    ports: [80]\n    inbound: {{ mode: \
             {mode}, trusted: [10.0.0.0/8], serverFirst: wait }}\n    outbound: {{ version: v2 }}\n"
        );
        settings_of(&text)
    }

    #[test]
    fn a_reload_does_not_loosen_what_was_tightened() {
        let tightened = Tightened(["web".to_owned()].into());
        let mut reloaded = settings("optional");
        assert_eq!(tightened.keep(&mut reloaded).lines().count(), 1);
        assert_eq!(reloaded.rules[0].inbound.mode, Mode::Require);
    }

    #[test]
    fn what_the_file_says_by_itself_holds() {
        for (says, mode) in [("require", Mode::Require), ("off", Mode::Off)] {
            let tightened = Tightened(["web".to_owned()].into());
            let mut reloaded = settings(says);
            let kept = tightened.keep(&mut reloaded);
            assert_eq!((kept.lines().count(), reloaded.rules[0].inbound.mode), (0, mode));
        }
    }
}
