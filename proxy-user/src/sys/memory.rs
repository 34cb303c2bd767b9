//! How much memory this process may use, and how large its sockets' buffers may grow.

use std::io;

use procfs::{Current as _, Meminfo};

use super::{cgroup, sysctl};

/// Who shares an amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryScope {
    /// All processes of the machine.
    Machine,
    /// Those of the process's cgroup, or of one of its ancestors.
    Cgroup,
}

/// An amount of memory, and who shares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// In bytes.
    pub bytes: u64,
    /// Who shares it.
    pub scope: MemoryScope,
}

/// The tightest limit on this process: the machine's memory or a cgroup's.
pub fn available() -> io::Result<Memory> {
    let bytes = Meminfo::current().map_err(io::Error::other)?.mem_total;
    let machine = Memory { bytes, scope: MemoryScope::Machine };
    let cgroup = cgroup::memory_limit().map(|bytes| Memory { bytes, scope: MemoryScope::Cgroup });
    Ok(cgroup.filter(|cgroup| cgroup.bytes < machine.bytes).unwrap_or(machine))
}

/// How large a TCP socket's two buffers may grow in the calling thread's namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferLimits {
    /// The receive buffer, in bytes.
    pub receive: u64,
    /// The send buffer, in bytes.
    pub send: u64,
}

/// Reads the maxima of `tcp_rmem` and `tcp_wmem`.
pub fn buffer_limits() -> io::Result<BufferLimits> {
    let read = |name: &str| {
        let text = sysctl::read(&format!("net/ipv4/{name}"))?.ok_or(io::ErrorKind::NotFound)?;
        let max = text.split_whitespace().nth(2).and_then(|word| word.parse().ok());
        max.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    };
    Ok(BufferLimits { receive: read("tcp_rmem")?, send: read("tcp_wmem")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_in_bytes() {
        let available = available().unwrap().bytes;
        assert!(available > 16 << 20, "{available}");
        let limits = buffer_limits().unwrap();
        assert!(limits.receive >= 4096 && limits.send >= 4096, "{limits:?}");
    }
}
