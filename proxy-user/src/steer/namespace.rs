//! The private network namespace. Everything that reaches it is delivered to our listeners, under the
//! addresses that the packets came with; the host's firewall, connection tracking and routing rules
//! don't apply.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::host_sysctls;
use super::veth::Veth;
use super::veth_setup::{SetupItem, VethEnds};
use crate::sys::netns::{Namespace, proc_net};
use crate::sys::socket::Listeners;

/// The namespace and the veth that leads to it. It ends with its last socket.
#[derive(Debug)]
pub struct PrivateNamespace {
    // The veth is deleted first.
    veth: Veth,
    namespace: Namespace,
}

impl PrivateNamespace {
    /// Makes one for instance `number`, with the host's TCP settings. `mtu` is the smallest of the
    /// interfaces; `accepts_own_addresses` is explained at [`Veth::build`].
    pub fn build(number: u32, mtu: u32, accepts_own_addresses: bool) -> Result<Self> {
        let namespace = Namespace::create().context("cannot make a network namespace")?;
        let followed = host_sysctls::read();
        namespace
            .run(|| {
                host_sysctls::apply(&followed);
                Ok(())
            })
            .context("cannot enter the private namespace")?;
        let veth = Veth::build(number, &namespace, mtu.min(MAX_VETH_MTU), accepts_own_addresses)?;
        Ok(Self { veth, namespace })
    }

    /// Sets the veth's MTU, in bytes; returns whether it was another one.
    pub fn set_mtu(&mut self, mtu: u32) -> Result<bool> {
        self.veth.set_mtu(mtu.min(MAX_VETH_MTU), &self.namespace)
    }

    /// Makes the veth again after somebody has removed it. Connections inside don't notice.
    pub fn rebuild(&mut self) -> Result<()> {
        self.veth.rebuild(&self.namespace)
    }

    /// Restores items of the veth's setup.
    pub fn make(&self, items: &BTreeSet<SetupItem>) -> Result<()> {
        self.veth.make(items, &self.namespace)
    }

    /// Both ends of the veth, as they were last seen.
    pub fn ends(&self) -> &VethEnds {
        self.veth.ends()
    }

    /// Notes their current properties.
    pub fn update_ends(&mut self, ends: VethEnds) {
        self.veth.update_ends(ends);
    }

    /// Opens the listeners of each of the `workers`.
    pub fn listeners(&self, workers: usize) -> Result<Vec<Listeners>> {
        self.namespace
            .run(|| (0..workers).map(|_| Listeners::open()).collect())
            .context("cannot open the transparent listeners")
    }

    /// Whether it has a TCP socket that is neither listening nor in `TIME_WAIT`. This is called often
    /// during a drain, so the tables are scanned for nothing but states.
    pub fn is_busy(&self) -> Result<bool> {
        let tables = self.namespace.run(|| Ok([proc_net("tcp")?, proc_net("tcp6")?]));
        let tables = tables.context("cannot read the private namespace's sockets")?;
        Ok(tables.iter().any(|table| has_live_socket(table)))
    }

    /// The namespace's id, as the host's namespace sees it.
    pub fn id(&self) -> u32 {
        self.veth.namespace_id
    }

    /// The index of the veth's host end.
    pub fn veth_index(&self) -> u32 {
        self.ends().host.index
    }

    /// The name of the veth's host end.
    pub fn veth_name(&self) -> &str {
        &self.ends().host.name
    }

    /// The link-layer address of the veth's inner end, padded with two zeros.
    pub fn inner_address(&self) -> [u8; 8] {
        let mut address = [0; 8];
        for (octet, &value) in address.iter_mut().zip(&self.ends().inner.address) {
            *octet = value;
        }
        address
    }

    /// The namespace itself.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

/// The largest MTU that a veth takes. That of `lo` is larger by one.
const MAX_VETH_MTU: u32 = 65535;

/// Scans a table such as `/proc/net/tcp`; the fourth word of a line is the state.
fn has_live_socket(table: &str) -> bool {
    const TIME_WAIT: &str = "06";
    const LISTEN: &str = "0A";
    let states = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3));
    states.into_iter().any(|state| state != TIME_WAIT && state != LISTEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt";

    #[test]
    fn only_sockets_with_work_left_keep_a_stop_waiting() {
        let table =
            |state| format!("{HEAD}\n   0: 0100007F:3A99 0201A8C0:0000 {state} 00000000:0\n");
        assert!(!has_live_socket(""));
        assert!(!has_live_socket(HEAD));
        assert!(!has_live_socket(&table("0A")), "a listener");
        assert!(!has_live_socket(&table("06")), "TIME_WAIT");
        for state in ["01", "03", "04", "05", "08", "09", "0B", "0C"] {
            assert!(has_live_socket(&table(state)), "{state}");
        }
    }
}
