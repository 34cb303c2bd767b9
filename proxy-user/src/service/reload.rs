//! Reloads: a changed file is read, validated and applied as a whole, or refused as a whole. Open
//! connections go on as they began.

use std::collections::BTreeSet;
use std::future::pending;
use std::mem;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use super::Service;
use super::config_file::{ConfigFile, ConfigWatch, Read};
use super::resolver::{DEADLINE, timed_out};
use crate::config::change::movable;
use crate::config::settings::UpstreamName;
use crate::config::{Found, RawConfig, Settings, Syntax, difference};
use crate::logging::say;
use crate::operate::admin::{PendingRequest, Response};
use crate::operate::report::State;
use crate::sys::environment::Environment;

/// The file, and the watch on it.
#[derive(Debug)]
pub struct Reloading {
    file: ConfigFile,
    watch: ConfigWatch,
}

impl Reloading {
    /// Watches the file, which has been read once.
    pub fn of(file: ConfigFile) -> Result<Self> {
        let watch = file.watch().context("cannot watch the configuration")?;
        Ok(Self { file, watch })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

/// Waits until the file may have changed; for ever if there is none.
pub async fn changed(reloading: Option<&mut Reloading>) {
    match reloading {
        Some(reloading) => reloading.watch.changed().await,
        None => pending().await,
    }
}

/// What asked for a reload.
#[derive(Debug)]
pub enum ReloadTrigger {
    /// `foreword reload`.
    PendingRequest(PendingRequest),
    /// A signal.
    Signal,
    /// The file has changed.
    Change,
}

/// A reload that waits for new names to be looked up.
#[derive(Debug)]
pub struct Pending {
    config: RawConfig,
    settings: Settings,
    /// What is known of its names.
    found: Found,
    /// Names that have not been looked up yet.
    missing: BTreeSet<UpstreamName>,
    /// When the wait for them ends.
    deadline: Instant,
    askers: Vec<ReloadTrigger>,
}

impl Service {
    /// Reads the configuration again, whether it has changed or not.
    pub fn reload_as_asked(&mut self) {
        if self.reloading.is_none() {
            tracing::warn!("there is no configuration file to be read again");
            return;
        }
        self.begin_reload(ReloadTrigger::Signal);
    }

    /// Reads it again if its text differs.
    pub fn reload_if_changed(&mut self) {
        let Some(Reloading { file, watch, .. }) = &mut self.reloading else { return };
        if let Err(error) = watch.renew(file) {
            tracing::warn!(%error, "the configuration file is no longer watched");
        }
        if file.has_changed() {
            self.begin_reload(ReloadTrigger::Change);
        }
    }

    /// Reads the file again. It is applied as soon as the names that are new in it have been looked up,
    /// unless it changes once more before that.
    pub fn begin_reload(&mut self, asker: ReloadTrigger) {
        let mut earlier = self.pending.take();
        let mut askers = earlier.as_mut().map_or_else(Vec::new, |it| mem::take(&mut it.askers));
        askers.push(asker);
        match self.read(earlier.map(|it| it.found).unwrap_or_default()) {
            Ok(pending) => {
                self.pending = Some(Pending { askers, ..pending });
                self.finish_reload();
            }
            Err(error) => self.tell_reloaded(askers, &Err(error)),
        }
    }

    /// What the file says, and which of its names have to be looked up. Some have been found already,
    /// for what it said before.
    fn read(&mut self, found: Found) -> Result<Pending> {
        let Some(reloading) = &mut self.reloading else {
            bail!("this run was started without a configuration file")
        };
        if self.state == State::Draining {
            bail!("this run is draining, and takes no new connections");
        }
        let Read { config, settings } = reloading.file.read()?;
        let settings = Settings { take_over: self.settings.take_over, ..settings };
        let names = settings.upstream_names();
        let mut known = self.names.found();
        known.extend(found.into_iter().filter(|(_, found)| found.is_ok()));
        let missing: BTreeSet<_> =
            names.into_iter().filter(|name| !known.contains_key(name)).collect();
        for name in &missing {
            self.names.resolver.ask(name);
        }
        // Known addresses stay until the answer comes.
        self.names.ask_again();
        Ok(Pending {
            config,
            settings,
            found: known,
            missing,
            deadline: Instant::now() + DEADLINE,
            askers: Vec::new(),
        })
    }

    /// A name has been looked up that a reload may wait for.
    pub(super) fn go_on_reloading(
        &mut self,
        name: &UpstreamName,
        answer: &Result<Vec<SocketAddr>, String>,
    ) {
        if let Some(pending) = &mut self.pending
            && pending.missing.remove(name)
        {
            pending.found.insert(name.clone(), answer.clone());
            self.finish_reload();
        }
    }

    /// Gives up waiting at the deadline; to be called once a second.
    pub(super) fn hurry_reload(&mut self) {
        if let Some(pending) = &mut self.pending
            && Instant::now() >= pending.deadline
        {
            let missing = mem::take(&mut pending.missing);
            pending.found.extend(missing.into_iter().map(|name| (name, Err(timed_out()))));
            self.finish_reload();
        }
    }

    /// Applies what was read, if nothing is missing, and says what has changed, or why nothing has.
    fn finish_reload(&mut self) {
        let Some(mut pending) = self.pending.take_if(|it| it.missing.is_empty()) else { return };
        let askers = mem::take(&mut pending.askers);
        let reloaded = self.reload(pending);
        self.tell_reloaded(askers, &reloaded);
    }

    fn tell_reloaded(&mut self, askers: Vec<ReloadTrigger>, reloaded: &Result<Vec<String>>) {
        match reloaded {
            Ok(lines) => {
                self.reloads.applied += 1;
                if !lines.is_empty() {
                    say(format_args!("reloaded:"));
                }
                for line in lines {
                    say(format_args!("  {line}"));
                }
            }
            Err(_) => self.reloads.refused += 1,
        }
        let is_signal = |asker: &ReloadTrigger| matches!(asker, ReloadTrigger::Signal);
        let has_question =
            |asker: &ReloadTrigger| matches!(asker, ReloadTrigger::PendingRequest(_));
        match reloaded {
            // The client gets the answer; no one else needs a line in the log.
            Err(error) if !askers.iter().all(has_question) => {
                let error = format!("{error:#}");
                tracing::error!(error, "not reloaded; everything goes on as before");
            }
            Ok(lines) if lines.is_empty() && askers.iter().any(is_signal) => {
                say(format_args!("reloaded: nothing has changed"));
            }
            _ => {}
        }
        for asker in askers {
            if let ReloadTrigger::PendingRequest(question) = asker {
                question.answer(match reloaded {
                    Ok(lines) => Response::Response(lines.clone().into()),
                    Err(error) => Response::Error(format!("{error:#}")),
                });
            }
        }
    }

    fn reload(&mut self, pending: Pending) -> Result<Vec<String>> {
        let Pending { config, mut settings, found, .. } = pending;
        let Some(reloading) = &self.reloading else { bail!("there is no configuration file") };
        let names = reloading.file.judge_names_of(&config, &settings, &found)?;
        let mut lines = difference::between(reloading.file.config(), &config);
        let tightened = self.tightened.keep(&mut settings);
        lines.extend(tightened.lines());
        let shortage = self.budget.shortage(Syntax::File, settings.limits, Environment::detect());
        lines.extend(shortage.map(|advice| advice.to_string()));
        names.iter().for_each(|(name, addresses)| self.relay.set_addresses(name, addresses));
        self.apply(settings)?;
        self.names.keep(&names);
        self.tightened = tightened;
        if let Some(reloading) = &mut self.reloading {
            reloading.file.keep(config);
        }
        Ok(lines)
    }

    /// Serves new connections by new settings from now on.
    pub fn apply(&mut self, settings: Settings) -> Result<()> {
        movable(&self.settings, &settings)?;
        // Workers first, so that they know a port before its first connection is steered to them.
        let served = self.relay.apply(&settings);
        if let Err(error) = served.and_then(|()| self.steering.apply(&settings)) {
            if let Err(back) = self.relay.apply(&self.settings) {
                let back = format!("{back:#}");
                tracing::error!(error = back, "workers can't go back to what was before");
            }
            return Err(error.context("cannot apply the configuration"));
        }
        self.settings = settings;
        Ok(())
    }
}
