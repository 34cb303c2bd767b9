//! The configuration file on disk: read, validated, and watched for changes.
//!
//! What counts is what the file says, not how it was changed: written in place, renamed over, or swapped by
//! a symlink further up, as in a ConfigMap.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::config::file::{ParseError, parse};
use crate::config::value::place;
use crate::config::{Found, Invalid, Names, RawConfig, Settings, Syntax, validate};
use crate::sys::directory_watch::DirectoryWatch;

/// The file is read once nothing has changed for so long, so that it is not read half written.
const SETTLED: Duration = Duration::from_millis(100);

/// Why a file can't be used. It names the file and, where there is one, the place.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("cannot read {path}: {error}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It can't be parsed.
    #[error("{place}: {error}", place = place(.path.display(), .error.position))]
    Misread {
        /// The file.
        path: PathBuf,
        /// Why.
        error: ParseError,
    },
    /// It fails validation.
    #[error("{place}: {error}", place = place(.path.display(), .error.position()))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Invalid,
    },
}

/// What a file says: as written, and validated.
#[derive(Debug)]
pub struct Read {
    /// As written.
    pub config: RawConfig,
    /// Validated.
    pub settings: Settings,
}

/// A configuration file that could be read once.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
    config: RawConfig,
}

impl ConfigFile {
    /// Reads and validates the file.
    pub fn open(path: &Path) -> Result<(Self, Settings), FileError> {
        let text = text(path)?;
        let Read { config, settings } = judge(path, &text)?;
        Ok((Self { path: path.to_owned(), text, config }, settings))
    }

    /// Validates the addresses that were found for its names.
    pub fn judge_names(&self, settings: &Settings, found: &Found) -> Result<Names, FileError> {
        self.judge_names_of(&self.config, settings, found)
    }

    /// Validates the addresses that were found for the names in another reading of it.
    pub fn judge_names_of(
        &self,
        config: &RawConfig,
        settings: &Settings,
        found: &Found,
    ) -> Result<Names, FileError> {
        let invalid = |error| FileError::Invalid { path: self.path.clone(), error };
        Names::judge(config, Syntax::File, settings, found).map_err(invalid)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it said when it was last [kept](Self::keep).
    pub fn config(&self) -> &RawConfig {
        &self.config
    }

    /// What it says holds from now on.
    pub fn keep(&mut self, config: RawConfig) {
        self.config = config;
    }

    /// Reads and validates it again.
    pub fn read(&mut self) -> Result<Read, FileError> {
        self.text = text(&self.path)?;
        judge(&self.path, &self.text)
    }

    /// Whether its text differs from when it was last read.
    pub fn has_changed(&self) -> bool {
        fs::read_to_string(&self.path).map_or(true, |text| text != self.text)
    }

    /// Watches it. The first event is immediate, since it may have changed after it was read.
    pub fn watch(&self) -> io::Result<ConfigWatch> {
        let folders = DirectoryWatch::new(&folders(&self.path))?;
        Ok(ConfigWatch { folders, settled: Some(Instant::now()) })
    }
}

fn text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|error| FileError::Unreadable { path: path.to_owned(), error })
}

fn judge(path: &Path, text: &str) -> Result<Read, FileError> {
    let misread = |error| FileError::Misread { path: path.to_owned(), error };
    let invalid = |error| FileError::Invalid { path: path.to_owned(), error };
    let config = parse(text).map_err(misread)?;
    let settings = validate(&config, Syntax::File).map_err(invalid)?;
    Ok(Read { config, settings })
}

/// The folders in which a change can change what the file says: its own, and the one that its
/// symlinks lead to.
fn folders(path: &Path) -> Vec<PathBuf> {
    let own = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let real = path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_owned()));
    let mut folders = vec![own];
    folders.extend(real);
    folders
}

/// Reports that a file may have changed.
#[derive(Debug)]
pub struct ConfigWatch {
    folders: DirectoryWatch,
    /// Something has changed, and may go on changing until then.
    settled: Option<Instant>,
}

impl ConfigWatch {
    /// Waits until something has changed in its folders and settled. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.settled.is_none() {
            self.folders.changed().await;
        }
        let settled = *self.settled.get_or_insert_with(|| Instant::now() + SETTLED);
        sleep_until(settled).await;
        self.settled = None;
        self.folders.forget();
    }

    /// Watches what the file is now.
    pub fn renew(&mut self, file: &ConfigFile) -> io::Result<()> {
        self.folders = DirectoryWatch::new(&folders(&file.path))?;
        Ok(())
    }
}
