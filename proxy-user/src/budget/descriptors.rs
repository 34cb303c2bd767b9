//! How many connections the limit of open files allows.

use anyhow::{Result, bail};

use crate::advice::Advice;
use crate::config::field::{Syntax, field};
use crate::config::settings::ConnectionLimits;
use crate::sys::environment::Environment;

/// Descriptors of an idle run: programs, maps, listeners, and some to spare.
const OWN: u64 = 192;
/// Pipes for splicing that are always possible; without one, bytes are copied.
const PIPES: u64 = 16;
const FILES_OF_A_PIPE: u64 = 2;
/// Its two sockets.
const FILES_OF_A_CONNECTION: u64 = 2;

/// The limit of open files, and the connections that it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorBudget {
    files: u64,
    /// Connections at once.
    pub connections: u64,
}

impl DescriptorBudget {
    /// Works it out from the limit of open files.
    pub fn of(files: u64) -> Result<Self> {
        let kept = OWN + PIPES * FILES_OF_A_PIPE;
        let connections = files.saturating_sub(kept) / FILES_OF_A_CONNECTION;
        if connections == 0 {
            let least = kept + FILES_OF_A_CONNECTION;
            bail!("only {files} files may be open; allow {least} at least (ulimit -n)");
        }
        Ok(Self { files, connections })
    }

    /// One line: the limits of connections.
    pub fn describe(&self, limits: ConnectionLimits, limit: u64) -> String {
        let files = self.files;
        let of_one = limits.per_source.map_or_else(String::new, |per_source| {
            let prefix = limits.ipv6_prefix.length();
            format!(", {per_source} of one client (an IPv6 /{prefix})")
        });
        format!("{limit} connections at once{of_one} ({files} files may be open)")
    }

    /// Advice if more connections are configured than there are descriptors for.
    pub fn shortage(
        &self,
        at: Syntax,
        limits: ConnectionLimits,
        environment: Environment,
    ) -> Option<Advice> {
        let asked = u64::from(limits.connections?.get());
        let (files, allowed) = (self.files, self.connections);
        let needed = OWN + PIPES * FILES_OF_A_PIPE + asked * FILES_OF_A_CONNECTION;
        let limit = at.write(field!(limits.connections), &asked.to_string());
        (asked > allowed).then(|| Advice {
            what: format!("{limit}: {files} files may be open, which is enough for {allowed}"),
            fix: format!(
                "allow {needed} ({})",
                environment.pick([
                    "LimitNOFILE= of systemd, or ulimit -n",
                    "LimitNOFILE= in the unit",
                    "--ulimit nofile=N:N of docker and podman",
                    "LimitNOFILE= of the container runtime on the node",
                ])
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn asked(connections: u32) -> ConnectionLimits {
        let connections = NonZeroU32::new(connections);
        ConnectionLimits { connections, ..ConnectionLimits::default() }
    }

    #[test]
    fn what_is_needed_is_enough() {
        let budget = DescriptorBudget::of(1024).unwrap();
        assert_eq!(budget.connections, 400);
        assert_eq!(budget.shortage(Syntax::File, asked(400), Environment::Host), None);
        let words =
            budget.shortage(Syntax::File, asked(401), Environment::Host).unwrap().to_string();
        assert!(words.starts_with("limits.connections: 401: 1024 files may be open"), "{words}");
        assert!(words.contains("allow 1026"), "{words}");
        assert_eq!(DescriptorBudget::of(1026).unwrap().connections, 401);
    }

    #[test]
    fn too_few_files_for_anything_are_refused() {
        let why = DescriptorBudget::of(225).unwrap_err().to_string();
        assert_eq!(why, "only 225 files may be open; allow 226 at least (ulimit -n)");
        assert_eq!(DescriptorBudget::of(226).unwrap().connections, 1);
    }
}
