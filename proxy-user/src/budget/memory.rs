//! How much of the available memory the buffers of connections may take.

use anyhow::{Context as _, Result};
use bytesize::ByteSize;

use crate::config::settings::MemoryLimit;
use crate::relay::{Ceilings, UNCOUNTED};
use crate::sys::memory::{self, BufferLimits, Memory, MemoryScope};
use crate::sys::pipe;

/// The part of the available memory that buffers may take by default.
const SHARE: u64 = 4;

/// The memory that there is, and what one connection can take of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget {
    available: Memory,
    /// What one connection can take at most, in bytes.
    of_one: u64,
}

impl MemoryBudget {
    /// Reads the available memory and the limits of socket buffers.
    pub fn look() -> Result<Self> {
        let available = memory::available().context("cannot tell how much memory there is")?;
        let longest = memory::buffer_limits().context("cannot tell how long buffers can be")?;
        Ok(Self::of(available, longest))
    }

    /// From what there is, and what a socket's buffers may grow to.
    pub fn of(available: Memory, longest: BufferLimits) -> Self {
        let pipe = u64::try_from(pipe::CAPACITY).unwrap_or(0);
        // Two sockets, and a pipe in each direction.
        Self { available, of_one: 2 * (longest.receive + longest.send + pipe) }
    }

    /// What a run can have at most, with files for so many connections.
    pub const fn ceilings(&self, connections: u64) -> Ceilings {
        Ceilings { connections, memory: self.quarter() }
    }

    /// [`MemoryLimit::Quarter`], in bytes.
    const fn quarter(&self) -> u64 {
        self.available.bytes / SHARE
    }

    /// In bytes; `None`: any amount.
    const fn limit(&self, limit: MemoryLimit) -> Option<u64> {
        match limit {
            MemoryLimit::Quarter => Some(self.quarter()),
            MemoryLimit::Bytes(bytes) => Some(bytes.get()),
            MemoryLimit::Any => None,
        }
    }

    /// How much memory there is, in words.
    pub fn available(&self) -> String {
        let owner = match self.available.scope {
            MemoryScope::Machine => "machine",
            MemoryScope::Cgroup => "cgroup",
        };
        format!("the {owner}'s {}", ByteSize(self.available.bytes))
    }

    /// What the buffers of so many connections come to if all of them are stuck at once, in bytes.
    pub fn worst(&self, limit: MemoryLimit, connections: u64) -> u64 {
        let all = self.of_one.saturating_mul(connections);
        let uncounted = UNCOUNTED.saturating_mul(connections);
        self.limit(limit).map_or(all, |limit| limit.saturating_add(uncounted).min(all))
    }

    /// How many connections do not take more than there is, even if all of them are stuck at once.
    pub fn safe_connections(&self, limit: MemoryLimit) -> u64 {
        let available = self.available.bytes;
        self.limit(limit).map_or(available / self.of_one, |limit| {
            // The limit holds already where that is more.
            (available.saturating_sub(limit) / UNCOUNTED).max(available / self.of_one)
        })
    }

    /// One line: the limit, and the worst case.
    pub fn describe(&self, limit: MemoryLimit, connections: u64) -> String {
        let (of_one, all) = (self.of_one, self.worst(limit, connections));
        let (of_one, all) = (ByteSize(of_one), ByteSize(all));
        let bound = self
            .limit(limit)
            .map_or_else(|| "any amount".to_owned(), |bytes| ByteSize(bytes).to_string());
        let share = match limit {
            MemoryLimit::Quarter => format!(", a quarter of {}", self.available()),
            MemoryLimit::Bytes(_) | MemoryLimit::Any => String::new(),
        };
        format!(
            "{bound} for buffers{share}; one connection can take {of_one}, {connections} stuck at \
             once {all}"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn budget() -> MemoryBudget {
        let available = Memory { bytes: 512 << 20, scope: MemoryScope::Cgroup };
        let budget = MemoryBudget::of(available, BufferLimits { receive: 6 << 20, send: 4 << 20 });
        assert_eq!(budget.ceilings(7), Ceilings { connections: 7, memory: 128 << 20 });
        budget
    }

    #[test]
    fn the_worst_case_is_told() {
        assert_eq!(
            budget().describe(MemoryLimit::Quarter, 1000),
            "128.0 MiB for buffers, a quarter of the cgroup's 512.0 MiB; one connection can take 21.0 \
             MiB, 1000 stuck at once 628.0 MiB"
        );
        assert_eq!(
            budget().describe(MemoryLimit::Any, 1024),
            "any amount for buffers; one connection can take 21.0 MiB, 1024 stuck at once 21.0 GiB"
        );
        let bytes = NonZeroU64::new(64 << 20).map_or(MemoryLimit::Any, MemoryLimit::Bytes);
        assert_eq!(
            budget().describe(bytes, 2),
            "64.0 MiB for buffers; one connection can take 21.0 MiB, 2 stuck at once 42.0 MiB"
        );
    }

    #[test]
    fn as_many_as_are_safe_fit_in_what_there_is() {
        let bytes = NonZeroU64::new(511 << 20).map_or(MemoryLimit::Any, MemoryLimit::Bytes);
        for limit in [MemoryLimit::Quarter, MemoryLimit::Any, bytes] {
            let safe = budget().safe_connections(limit);
            let worst = [safe, safe + 1].map(|count| budget().worst(limit, count));
            assert!(worst[0] <= 512 << 20 && worst[1] > 512 << 20, "{limit:?}: {safe} {worst:?}");
        }
    }
}
