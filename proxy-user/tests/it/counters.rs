//! Packet counters in any namespace but the node's: they tell what left, and by which way, while
//! the node's own packet filter stays as it is.

use netlab::{Netns, Scratch, output_of};
use serde_json::Value;

/// Named counters, each with an expression of nftables that says what it counts.
pub struct Counters<'a>(&'a Netns);

impl<'a> Counters<'a> {
    /// `hook` is netfilter's: `output` sees what the namespace itself sends, `forward` what it
    /// routes, `prerouting` what comes in. There can be one of these in a namespace.
    pub fn new(netns: &'a Netns, hook: &str, counters: &[(&str, &str)]) -> Self {
        let declarations = counters.iter().map(|(name, _)| format!("counter {name} {{}}"));
        let rules = counters.iter().map(|(name, what)| format!("{what} counter name {name}"));
        let [declarations, rules] =
            [declarations.collect(), rules.collect()].map(|lines: Vec<_>| lines.join("\n"));
        // Before connection tracking, which puts fragments together at -400.
        let table = format!(
            "table inet seen {{\n{declarations}\n\
             chain seen {{\ntype filter hook {hook} priority -450;\n{rules}\n}}\n}}\n"
        );
        let scratch = Scratch::new();
        let path = scratch.write("counters", &table);
        let mut nft = netns.command("nft");
        nft.arg("--file").arg(path);
        output_of(nft);
        Self(netns)
    }

    /// Packets counted so far.
    pub fn packets(&self, name: &str) -> u64 {
        let mut nft = self.0.command("nft");
        nft.args(["--json", "list", "counter", "inet", "seen", name]);
        let listing: Value = serde_json::from_str(&output_of(nft)).expect("nft writes JSON");
        let objects = listing["nftables"].as_array().into_iter().flatten();
        let mut counts = objects.filter_map(|object| object["counter"]["packets"].as_u64());
        counts.next().unwrap_or_else(|| panic!("no counter {name} in {listing}"))
    }
}
