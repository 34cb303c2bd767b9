//! Which kernel this is, and how it has been set.

use std::fs;
use std::io;
use std::path::Path;

use nix::sys::utsname::uname;

use super::unseen::Seen;

/// Where the kernel says how it is locked down.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// The kernel's release, such as `6.12.3-cloud-amd64`.
pub fn release() -> Seen<String> {
    let names = uname().map_err(io::Error::from)?;
    Ok(names.release().to_string_lossy().into_owned())
}

/// The lockdown mode in force, as a word of the kernel's; `None` if it has none to show.
pub fn lockdown() -> Seen<Option<String>> {
    Ok(read(Path::new(LOCKDOWN))?.and_then(|text| chosen(&text).map(str::to_owned)))
}

/// A value below `/proc/sys`, by its path there; `None` if this kernel, or this network namespace,
/// has no such thing.
pub fn setting(name: &str) -> Seen<Option<String>> {
    read(&Path::new("/proc/sys").join(name))
}

fn read(path: &Path) -> Seen<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The word in brackets, out of a list of all.
fn chosen(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_in_brackets_is_the_one_in_force() {
        assert_eq!(chosen("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn a_setting_that_does_not_exist_is_none() {
        assert_eq!(setting("kernel/foreword"), Ok(None));
        assert!(matches!(setting("kernel/osrelease"), Ok(Some(release)) if !release.is_empty()));
    }
}
