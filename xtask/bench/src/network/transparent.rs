//! Client, node and backend: the node's interface is where connections have to be caught.

use std::net::SocketAddrV4;
use std::process::Command;

use anyhow::{Context, Result, bail};
use netlab::{LB_V4, Lab, Netns, VIP_V4};

use super::plain::widen_ports;
use super::{Place, SERVER, SERVICE};
use crate::plan::Contender;

/// The addresses: the service is the backend's virtual address, behind the node.
pub const PLACE: Place = Place {
    interface: "eth0",
    client: LB_V4,
    service: SocketAddrV4::new(VIP_V4, SERVICE),
    upstream: SocketAddrV4::new(VIP_V4, SERVICE),
    past: SocketAddrV4::new(VIP_V4, SERVER),
};

/// Connection tracking, in use as on a node whose firewall is stateful.
const STATEFUL: [&str; 2] = [
    "iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    "iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
];

/// A listener that takes connections to any address, with the help of a mark and a route.
const TPROXY: [&str; 7] = [
    "iptables -t mangle -N DIVERT",
    "iptables -t mangle -A DIVERT -j MARK --set-mark 1",
    "iptables -t mangle -A DIVERT -j ACCEPT",
    "iptables -t mangle -A PREROUTING -p tcp -m socket --transparent -j DIVERT",
    "iptables -t mangle -A PREROUTING -i eth0 -p tcp --dport 9000 -j TPROXY --on-port 9000 --tproxy-mark 1",
    "ip rule add fwmark 1 lookup 100",
    "ip route add local 0.0.0.0/0 dev lo table 100",
];

/// An ordinary listener that gets connections to any address.
const REDIRECT: [&str; 1] =
    ["iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 9000 -j REDIRECT --to-ports 9000"];

/// The network in words.
pub fn description() -> String {
    format!(
        "Client, node and backend are namespaces in a row, joined by veth pairs. The client \
         connects to {VIP_V4}:9000, which the node routes to the backend. The node tracks \
         connections for every contender (`{}`). HAProxy listens transparently behind TPROXY. \
         nginx cannot: its `listen` does not set `IP_TRANSPARENT`, so it stands behind REDIRECT. \
         Foreword is attached to `eth0`. All of them connect to the backend from the node's own \
         address.",
        STATEFUL.join("`, `")
    )
}

/// Makes the lab, and the rules that are there for everybody.
pub fn make() -> Result<Lab> {
    let lab = Lab::new()?;
    for netns in [&lab.client, &lab.node] {
        widen_ports(netns)?;
    }
    run_all(&lab.node, &STATEFUL)?;
    Ok(lab)
}

/// Brings connections to a contender that can't do so itself.
pub fn divert(node: &Netns, contender: Contender) -> Result<Vec<String>> {
    let commands: &[&str] = match contender {
        Contender::Direct
        | Contender::Foreword
        | Contender::ForewordOnLo
        | Contender::ForewordAnswersOff => &[],
        Contender::Haproxy | Contender::HaproxyTuned => &TPROXY,
        Contender::Nginx => &REDIRECT,
    };
    run_all(node, commands)?;
    Ok(commands.iter().map(ToString::to_string).collect())
}

fn run_all(node: &Netns, commands: &[&str]) -> Result<()> {
    commands.iter().try_for_each(|line| {
        let mut words = line.split_whitespace();
        let program = words.next().context("a command has a program")?;
        run(line, node.command(program).args(words))
    })
}

fn run(line: &str, command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}`: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
