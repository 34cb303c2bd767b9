//! A lock is a file in the [directory](super::directory). Only the lock on the file counts; its text says
//! who has it, and at which socket that process listens.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::OFlag;

use super::directory;
use crate::sys::file_lock::{Sharing, is_locked, try_lock};

/// Somebody may keep removing the file that we have opened, but not for ever.
const ATTEMPTS: usize = 64;

/// Who has a lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The name of its socket; `None` for a sweep.
    pub socket: Option<String>,
    /// Its process id; 0 if it is in another pid namespace.
    pub pid: i32,
}

/// A lock that we have until this is dropped. The last to have it removes the file.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
}

impl FileLock {
    /// Takes the exclusive lock of this name; `None` if somebody has it. We listen at `socket`.
    pub fn try_take(name: &str, socket: Option<&str>) -> Result<Option<Self>> {
        let Some(lock) = Self::try_lock(name, Sharing::Exclusive)? else { return Ok(None) };
        lock.sign(socket).with_context(|| format!("cannot write to {}", lock.path.display()))?;
        Ok(Some(lock))
    }

    /// Takes the shared lock of this name; `None` if somebody has it exclusively.
    pub fn try_share(name: &str) -> Result<Option<Self>> {
        Self::try_lock(name, Sharing::Shared)
    }

    fn try_lock(name: &str, sharing: Sharing) -> Result<Option<Self>> {
        for _ in 0..ATTEMPTS {
            let path = directory::directory()?.join(name);
            let file = match open(&path) {
                // The directory was removed with the last file in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.with_context(|| format!("cannot open {}", path.display()))?,
            };
            let is_ours = try_lock(&file, sharing)
                .with_context(|| format!("cannot lock {}", path.display()))?;
            if is_there(&file, &path) {
                return Ok(is_ours.then_some(Self { file, path }));
            }
            // The file was removed after we had opened it.
        }
        bail!("{name} is made and removed all the time, in {}", directory::path().display())
    }

    fn sign(&self, socket: Option<&str>) -> io::Result<()> {
        let text = format!("{} {} {}\n", socket.unwrap_or("-"), process::id(), pid_namespace()?);
        self.file.write_all_at(text.as_bytes(), 0)?;
        self.file.set_len(text.len() as u64)
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Only the last to share a lock can make it exclusive. Nobody else gets the lock then, so the
        // file that is removed is ours.
        if try_lock(&self.file, Sharing::Exclusive).unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
            // Both fail while something else is there.
            let _ = fs::remove_dir(directory::path());
            let _ = fs::remove_dir(directory::RUN);
        }
    }
}

/// Who has the lock of this name; `None` if nobody has.
pub fn owner(name: &str) -> Result<Option<Owner>> {
    let Some(mut file) = look(name)? else { return Ok(None) };
    if !is_locked(&file)? {
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Some(parse(&text)))
}

/// Whether anybody has the lock of this name.
pub fn is_taken(name: &str) -> Result<bool> {
    look(name)?.map_or(Ok(false), |file| Ok(is_locked(&file)?))
}

/// Removes the files of dead processes. They do no harm.
pub fn sweep() {
    let entries = fs::read_dir(directory::path()).into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        if is_lock(&name)
            && matches!(is_taken(&name), Ok(false))
            && let Ok(Some(_lock)) = FileLock::try_lock(&name, Sharing::Exclusive)
        {
            let _ = fs::remove_file(super::socket::path(&name));
        }
    }
}

/// Whether a file of this name is a lock: the directory has other files, too.
fn is_lock(name: &str) -> bool {
    let of_process = name.strip_prefix(super::PROCESS);
    let of_interface = name.strip_suffix(super::DRAINING).unwrap_or(name);
    of_process.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        || of_interface.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        || name.contains(super::LISTENER)
}

fn look(name: &str) -> Result<Option<File>> {
    let path = directory::path().join(name);
    match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => Ok(Some(file.with_context(|| format!("cannot look at {}", path.display()))?)),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
    options.open(path)
}

/// Whether the path still leads to this file.
fn is_there(file: &File, path: &Path) -> bool {
    let number = |found: io::Result<fs::Metadata>| found.ok().map(|found| found.ino());
    let opened = number(file.metadata());
    opened.is_some() && opened == number(fs::symlink_metadata(path))
}

/// Reads the text of a lock; a file that is locked and still empty has an unknown owner.
fn parse(text: &str) -> Owner {
    let mut words = text.split_whitespace();
    let socket = words.next().filter(|word| *word != "-").map(str::to_owned);
    let pid = words.next().and_then(|pid| pid.parse().ok());
    let namespace = words.next().and_then(|number| number.parse().ok());
    let is_near = namespace.is_some() && namespace == pid_namespace().ok();
    Owner { socket, pid: pid.filter(|_| is_near).unwrap_or(0) }
}

/// The inode number of our pid namespace. A process has other ids in other namespaces.
fn pid_namespace() -> io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_as_it_was_written() {
        let namespace = pid_namespace().unwrap();
        let near = Owner { socket: Some("process-3".to_owned()), pid: 4711 };
        assert_eq!(parse(&format!("process-3 4711 {namespace}\n")), near);
        let far = Owner { pid: 0, ..near };
        assert_eq!(parse("process-3 4711 1\n"), far);
        assert_eq!(parse(&format!("- 1 {namespace}\n")), Owner { socket: None, pid: 1 });
        assert_eq!(parse(""), Owner { socket: None, pid: 0 });
    }

    #[test]
    fn a_sweep_knows_locks_from_other_files() {
        let locks = ["1-2", "4026531840-17", "1-2-draining", "1-http-[::1]:9478", "process-3"];
        assert!(locks.into_iter().all(is_lock));
        assert!(!["process-3.sock", "mark", "1-mark", "process-x"].into_iter().any(is_lock));
    }
}
