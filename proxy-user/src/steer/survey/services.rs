//! What balances connections to Kubernetes services on this node, by the traces that it leaves.

use std::process::Command;

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use super::super::netlink::Link;
use super::dump::{attributes, dump, text};
use crate::sys::fact::{Fact, Unknown};
use crate::sys::netns::proc_net;

/// Numbers of `include/uapi/linux/netfilter/nfnetlink.h` and `nf_tables.h`.
const GET_CHAIN: u16 = (10 << 8) | 4;
const ANY_FAMILY: [u8; 4] = [0; 4];
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;

/// The chain that kube-proxy puts first, in iptables mode.
const IPTABLES_CHAIN: &str = "KUBE-SERVICES";
/// The table that is all its own, in nftables mode.
const NFTABLES_TABLE: &str = "kube-proxy";

/// The traces that were looked for. There may be several.
#[derive(Clone, Debug)]
pub struct Services {
    /// kube-proxy's chains, in iptables of either kind.
    pub iptables: Fact<bool>,
    /// kube-proxy's table in nftables.
    pub nftables: Fact<bool>,
    /// kube-proxy's interface, in ipvs mode.
    pub ipvs: bool,
    /// Cilium's interface; it balances with eBPF.
    pub cilium: bool,
}

/// A chain of nftables, those of iptables-nft among them.
struct NftChain {
    table: String,
    name: String,
}

impl Services {
    /// Whether kube-proxy runs, in any mode.
    pub fn has_kube_proxy(&self) -> bool {
        self.ipvs || [&self.iptables, &self.nftables].iter().any(|seen| matches!(seen, Ok(true)))
    }

    /// Looks for all of them.
    pub fn find(links: &[Link]) -> Self {
        let chains = nft_chains();
        let has = |is_it: fn(&NftChain) -> bool| match &chains {
            Ok(chains) => Ok(chains.iter().any(is_it)),
            Err(unknown) => Err(unknown.clone()),
        };
        let iptables = match has(|chain| chain.name == IPTABLES_CHAIN) {
            Ok(false) => is_in_legacy_iptables(),
            seen => seen,
        };
        Self {
            iptables,
            nftables: has(|chain| chain.table == NFTABLES_TABLE),
            ipvs: links.iter().any(|link| link.name == "kube-ipvs0"),
            cilium: links.iter().any(|link| link.name == "cilium_host"),
        }
    }
}

fn nft_chains() -> Fact<Vec<NftChain>> {
    match dump(NETLINK_NETFILTER, GET_CHAIN, &ANY_FAMILY) {
        Ok(messages) => Ok(messages.iter().map(|message| nft_chain(message)).collect()),
        Err(error) if is_no_nftables(&error) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn nft_chain(message: &[u8]) -> NftChain {
    let mut chain = NftChain { table: String::new(), name: String::new() };
    for (kind, value) in attributes(message.get(ANY_FAMILY.len()..).unwrap_or_default()) {
        match kind {
            CHAIN_TABLE => chain.table = text(value),
            CHAIN_NAME => chain.name = text(value),
            _ => {}
        }
    }
    chain
}

/// Whether a kernel without nftables answers like this.
fn is_no_nftables(error: &std::io::Error) -> bool {
    let errors = [Errno::EPROTONOSUPPORT, Errno::EINVAL, Errno::EOPNOTSUPP];
    errors.iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// Only legacy iptables' own tool can list its chains. It is run only if there is a table already:
/// otherwise it would make one.
fn is_in_legacy_iptables() -> Fact<bool> {
    for (names, tool) in
        [("ip_tables_names", "iptables-legacy-save"), ("ip6_tables_names", "ip6tables-legacy-save")]
    {
        let tables = proc_net(names)?;
        if tables.lines().any(|table| table == "nat") && has_legacy_chain(tool)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_legacy_chain(tool: &str) -> Fact<bool> {
    let output = Command::new(tool).args(["-t", "nat"]).output().map_err(|error| {
        Unknown::because(format!("there is a legacy iptables, and {tool} does not run: {error}"))
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().any(|line| line.starts_with(&format!(":{IPTABLES_CHAIN} "))))
}
