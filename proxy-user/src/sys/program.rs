//! What the kernel says of an eBPF program that somebody has handed us.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// The number of the program that an open file stands for; `None` if it stands for none.
pub fn id(file: impl AsFd) -> io::Result<Option<u32>> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"));
    // A link's file names its program as well, and can be had without the right to load one.
    let is_link = info.lines().any(|line| line.starts_with("link_id:"));
    Ok(id.filter(|_| !is_link).and_then(|id| id.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_file_is_no_program() {
        assert_eq!(id(tempfile::tempfile().unwrap()).unwrap(), None);
    }
}
