//! How much memory this process has a share in.

use std::fs;
use std::io;

use super::cgroup;

/// Whose memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// All processes of the machine.
    Machine,
    /// Those of the process's cgroup, or of one around it.
    Cgroup,
}

/// So much memory, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// In bytes.
    pub bytes: u64,
    /// Who shares it.
    pub owner: Owner,
}

/// The narrowest bound that holds for this process: the machine's memory, or what a cgroup may take.
pub fn available() -> io::Result<Memory> {
    let bytes = total(&fs::read_to_string("/proc/meminfo")?).ok_or(io::ErrorKind::InvalidData)?;
    let machine = Memory { bytes, owner: Owner::Machine };
    let cgroup = cgroup::memory_limit().map(|bytes| Memory { bytes, owner: Owner::Cgroup });
    Ok(cgroup.filter(|cgroup| cgroup.bytes < machine.bytes).unwrap_or(machine))
}

/// The machine's memory, from the text of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The most that a TCP socket's two buffers may grow to, in the calling thread's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongestBuffers {
    /// For what is received, in bytes.
    pub receive: u64,
    /// For what is sent, in bytes.
    pub send: u64,
}

/// Reads them.
pub fn longest_buffers() -> io::Result<LongestBuffers> {
    let read = |name| {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"))?;
        let longest = text.split_whitespace().nth(2).and_then(|word| word.parse().ok());
        longest.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    };
    Ok(LongestBuffers { receive: read("tcp_rmem")?, send: read("tcp_wmem")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_counted_in_bytes() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16 << 20));
        assert_eq!(total("MemFree: 1 kB\n"), None);
    }
}
