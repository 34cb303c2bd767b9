//! The kernel's release and lockdown mode.

use std::fs;
use std::io;

use nix::sys::utsname::uname;

use super::fact::Fact;

/// Where the kernel shows its lockdown mode.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// The kernel's release, such as `6.12.3-cloud-amd64`.
pub fn release() -> Fact<String> {
    let names = uname().map_err(io::Error::from)?;
    Ok(names.release().to_string_lossy().into_owned())
}

/// The lockdown mode in force, in the kernel's own word; `None` if the kernel doesn't show one.
pub fn lockdown() -> Fact<Option<String>> {
    match fs::read_to_string(LOCKDOWN) {
        Ok(text) => Ok(selected(&text).map(str::to_owned)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The word in brackets, out of a list of all choices.
fn selected(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_in_brackets_is_the_one_in_force() {
        assert_eq!(selected("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(selected(""), None);
    }
}
