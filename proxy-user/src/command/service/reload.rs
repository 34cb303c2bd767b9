//! A configuration that changes while it runs: read whole, judged whole, applied whole, or
//! refused whole. Connections that are open go on as they began.

use std::future::pending;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Service;
use super::say::say;
use crate::config::change::movable;
use crate::config::field::At;
use crate::config::{Settings, difference};
use crate::operate::config_file::{ConfigFile, ConfigWatch, Read};

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

/// Waits until the file may say something else; for ever if there is none.
pub async fn changed(reloading: Option<&mut Reloading>) {
    match reloading {
        Some(reloading) => reloading.watch.changed().await,
        None => pending().await,
    }
}

impl Service {
    /// Reads the configuration again, whether it has changed or not.
    pub fn reload_as_asked(&mut self) {
        if self.reloading.is_none() {
            tracing::warn!("there is no configuration file to be read again");
            return;
        }
        self.report(true);
    }

    /// Reads it again if it says something else.
    pub fn reload_if_changed(&mut self) {
        let Some(Reloading { file, watch, .. }) = &mut self.reloading else { return };
        if let Err(error) = watch.renew(file) {
            tracing::warn!(%error, "the configuration file is no longer watched");
        }
        if file.has_changed() {
            self.report(false);
        }
    }

    fn report(&mut self, asked: bool) {
        match self.reload_and_say() {
            Ok(lines) if lines.is_empty() && asked => {
                say(format_args!("reloaded: nothing has changed"));
            }
            Ok(_) => {}
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "not reloaded; everything goes on as before");
            }
        }
    }

    /// Reads the file again and applies it, and says what has changed. Returns that, a line each,
    /// or why nothing has.
    pub fn reload_and_say(&mut self) -> Result<Vec<String>> {
        let reloaded = self.reload();
        match &reloaded {
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
        reloaded
    }

    fn reload(&mut self) -> Result<Vec<String>> {
        let Some(reloading) = &mut self.reloading else {
            anyhow::bail!("this run was started without a configuration file")
        };
        let Read { config, settings } = reloading.file.read()?;
        let mut lines = difference::between(reloading.file.config(), &config);
        let mut settings = Settings { take_over: self.settings.take_over, ..settings };
        let tightened = self.tightened.keep(&mut settings);
        lines.extend(tightened.lines());
        let shortage = self.budget.shortage(At::File, settings.limits);
        lines.extend(shortage.map(|advice| advice.to_string()));
        self.apply(settings)?;
        self.tightened = tightened;
        if let Some(reloading) = &mut self.reloading {
            reloading.file.keep(config);
        }
        Ok(lines)
    }

    /// Serves new connections by other settings from now on.
    pub fn apply(&mut self, settings: Settings) -> Result<()> {
        movable(&self.settings, &settings)?;
        // Workers first: they know a port before the first connection to it is led to them.
        let served = self.relay.serve(&settings);
        if let Err(error) = served.and_then(|()| self.steering.change(&settings)) {
            if let Err(back) = self.relay.serve(&self.settings) {
                let back = format!("{back:#}");
                tracing::error!(error = back, "workers can't go back to what was before");
            }
            return Err(error.context("cannot apply the configuration"));
        }
        self.settings = settings;
        Ok(())
    }
}
