//! Small networks of namespaces, with real clients and backends in them. The tests, the demo and the
//! benchmark run Foreword here. There are two networks: [`Lab`], for most purposes, and [`Site`],
//! where a node has a router in front and pods behind.
//!
//! ```text
//!   client                      node                       backend
//!   ┌──────────────┐            ┌──────────────┐            ┌──────────────┐
//!   │ LB       eth0├────────────┤eth0      eth1├────────────┤eth0   BACKEND│
//!   │ STRANGER     │            │ NODE         │            │ lo:      VIP │
//!   └──────────────┘            └──────────────┘            └──────────────┘
//! ```
//!
//! The node's `eth0` is the interface that Foreword protects. The VIP lives on no interface of the
//! node: it is routed to the backend, which has it on `lo` and so can serve it directly.
//! Client and backend have the node as their default route.
//!
//! Nothing here touches the namespace of the caller, and nothing outlives the values: [`Netns`]
//! removes its namespace, and [`Daemon`] ends its process, when they are dropped. Names carry the
//! caller's pid and a running number, so that any number of labs can be up at once.
//!
//! Tests are declared by [`lab_test!`] and [`both_families!`]. What only tests use ([`Client`],
//! [`Backend`], [`Scene`], [`Binary`]) panics where a test would have to stop anyway; everything
//! else returns its errors. [`header`] reads and writes PROXY headers without a line of the
//! product's own code.
mod address;
mod backend;
mod bytes;
mod client;
mod command;
mod config;
mod daemon;
mod foreword;
pub mod header;
mod hooks;
pub mod interrupt;
mod netns;
mod scene;
mod scratch;
mod site;
mod test;
pub mod ui;
mod wait;

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
// For `#[apply(lab_test)]`.
pub use macro_rules_attribute::apply;

pub use address::Family;
pub use address::{
    BACKEND_V4, BACKEND_V6, LB_V4, LB_V6, NODE_BACK_V4, NODE_BACK_V6, NODE_V4, NODE_V6,
    STRANGER_V4, STRANGER_V6, VIP_V4, VIP_V6,
};
pub use backend::{Backend, GREETING, Recording, Served, echo, greet, http, swallow};
pub use bytes::{assert_same_bytes, join, text};
pub use client::{Client, End, PATIENCE, Reply, SEGMENT_GAP, reset_on_close};
pub use command::{output_of, with_own_bpffs};
pub use config::{Config, ConfigFile, Rule};
pub use daemon::Daemon;
pub use foreword::{Binary, Foreword};
pub use hooks::hooks;
pub use netns::Netns;
pub use scene::{
    BACKLOG, OFF, OPTIONAL, PORT, REQUIRE, Scene, lab, lab_with_a_narrow_client, site,
};
pub use scratch::Scratch;
pub use site::{Site, SiteAddresses};
pub use test::{has_tools, is_ready};
pub use wait::wait_until;

/// Names for the namespaces of a network that is about to be made, by their roles in it.
fn names() -> impl Fn(&str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    move |role| format!("lab{}-{number}-{role}", std::process::id())
}

/// Three namespaces in a row: client, node, backend.
#[derive(Debug)]
pub struct Lab {
    /// Where connections come from: [`Family::lb`] and [`Family::stranger`] on `eth0`.
    pub client: Netns,
    /// Where Foreword runs: `eth0` towards the client, `eth1` towards the backend.
    pub node: Netns,
    /// Where connections go to: [`Family::backend`] on `eth0`, [`Family::vip`] on `lo`.
    pub backend: Netns,
}

impl Lab {
    /// Makes a lab with both address families up and forwarding on. Needs root and `ip`.
    pub fn new() -> Result<Self> {
        let name = names();
        let lab = Self {
            client: Netns::new(&name("client"))?,
            node: Netns::new(&name("node"))?,
            backend: Netns::new(&name("backend"))?,
        };
        lab.wire().context("cannot wire the lab")?;
        Ok(lab)
    }

    fn wire(&self) -> Result<()> {
        self.client.link("eth0", &self.node, "eth0")?;
        self.node.link("eth1", &self.backend, "eth0")?;
        self.node.forward()?;
        for family in Family::BOTH {
            self.address(family)?;
        }
        Ok(())
    }

    /// Gives every interface its addresses of one family, then the routes.
    fn address(&self, family: Family) -> Result<()> {
        self.client.add_address("eth0", family.lb(), family.link_prefix())?;
        self.client.add_spare_address("eth0", family.stranger(), family.link_prefix())?;
        self.node.add_address("eth0", family.node(), family.link_prefix())?;
        self.node.add_address("eth1", family.node_back(), family.link_prefix())?;
        self.backend.add_address("eth0", family.backend(), family.link_prefix())?;
        self.backend.add_address("lo", family.vip(), family.host_prefix())?;

        let option = family.ip_option();
        let (node, node_back) = (family.node(), family.node_back());
        self.client.ip(&format!("{option} route add default via {node}"))?;
        self.backend.ip(&format!("{option} route add default via {node_back}"))?;
        let (vip, backend) = (family.vip(), family.backend());
        self.node.ip(&format!("{option} route add {vip} via {backend}"))
    }
}
