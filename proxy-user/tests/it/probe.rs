//! Is Foreword in the way, or is it not? And what the lifecycle tests share besides.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use netlab::header::{named_client, named_destination, named_headers, v1};
use netlab::{
    Backend, Client, Family, Foreword, Lab, Netns, PATIENCE, PORT, Reply, echo, join, output_of,
    wait_until,
};

use crate::FOREWORD;
use crate::footprint::{Footprint, NodeState};

/// A Foreword whose work shows: it asks for a header, and writes one of the other version.
pub const FLAGS: &str =
    "eth0 --port 80 --inbound require --trust 10.77.1.2,fd77:1::2 --outbound v1";

/// Flags that attach our programs at every hook there is.
pub const EVERYTHING: &str = "eth0 --port 80 --inbound require --trust 10.77.1.2,fd77:1::2 \
    --outbound v1 --guard-hook native --when-absent drop --source client --upstream-interface eth1";

/// An echo at the VIP of each family.
pub fn echoes(lab: &Lab) -> [Backend; 2] {
    Family::BOTH
        .map(|family| Backend::start(&lab.backend, SocketAddr::new(family.vip(), PORT), echo))
}

/// A connection through Foreword that works: header in, header out, answer back.
pub fn assert_served(lab: &Lab, backend: &Backend, family: Family) {
    let (client, destination) = (named_client(family), named_destination(family));
    let [_, inbound] = named_headers(family);
    let mut connection = Client::connect(&lab.client, family.lb(), backend.address());
    connection.send(&join(&inbound, b"hello"));
    let expected = join(&v1(client, destination), b"hello");
    assert_eq!(connection.finish_and_rest(), Reply::ended(&expected));
}

/// Connects without a header where none is asked for, with outbound v1, to an echo, which shows what it got.
pub fn assert_peer_is_named(from: &Netns, source: IpAddr, to: SocketAddr) {
    let mut client = Client::connect(from, source, to);
    let expected = join(&v1(client.address(), to), b"hello");
    client.send(b"hello");
    assert_eq!(client.finish_and_rest(), Reply::ended(&expected));
}

/// A connection that reaches the backend without Foreword: no header is asked for, none is
/// written, and the backend sees the client itself.
pub fn flows_directly(lab: &Lab, backend: &Backend, family: Family) -> bool {
    flows_directly_from(family.lb(), lab, backend)
}

/// Whether a connection from this address of the client's namespace flows directly.
pub fn flows_directly_from(source: IpAddr, lab: &Lab, backend: &Backend) -> bool {
    let Ok(mut client) = Client::try_connect(&lab.client, source, backend.address()) else {
        return false;
    };
    client.offer(b"directly");
    let from = client.address();
    let reply = client.rest_after_finish(Duration::from_millis(300));
    let known = (0..backend.connections()).any(|n| backend.recording(n).peer == from);
    reply == b"directly" && known
}

/// Attaches, serves both families, and gives back the process with what it holds.
pub fn attach_and_serve(lab: &Lab, backends: &[Backend; 2], flags: &str) -> (Foreword, Footprint) {
    let foreword = FOREWORD.attach(&lab.node, flags);
    let footprint = Footprint::of(foreword.pid(), &lab.node);
    for (family, backend) in Family::BOTH.into_iter().zip(backends) {
        assert_served(lab, backend, family);
    }
    (foreword, footprint)
}

/// Sweeps, from inside the node's namespace. Other tests' dead instances go as well, and their
/// cleanups may take ours: the report can't be foreseen.
pub fn cleanup(node: &Netns) {
    let mut command = FOREWORD.command(node);
    command.arg("cleanup");
    let report = output_of(command);
    assert!(!report.trim().is_empty(), "it says what it removed, or that there was nothing");
}

/// Whether `f` is done before anything would have been sent twice: that takes a second, be it a SYN
/// or a question for a neighbour's address.
pub fn is_prompt(f: impl FnOnce()) -> bool {
    let begin = Instant::now();
    f();
    begin.elapsed() < Duration::from_secs(1)
}

/// Whether there is a pinned link in this node's name, or a filter on its interface.
pub fn is_held(node: &Netns) -> bool {
    let own = node.run(|| fs::metadata("/proc/thread-self/ns/net")).expect("it is there");
    let pins = fs::read_dir("/sys/fs/bpf/foreword/hold").into_iter().flatten().flatten();
    let prefix = format!("{}-", own.ino());
    let is_pinned =
        pins.into_iter().any(|pin| pin.file_name().to_string_lossy().starts_with(&prefix));
    let mut filters = node.command("tc");
    filters.args(["filter", "show", "dev", "eth0", "ingress"]);
    is_pinned || output_of(filters).contains("foreword_hold")
}

/// What an instance has left on a node that was `empty` before, after the time that the kernel
/// takes to free it. It is swept then, so as not to be found again after the next attempt.
pub fn left_by(pid: u32, node: &Netns, empty: &NodeState) -> Vec<String> {
    let footprint = Footprint::by_name(pid);
    let mut left = Vec::new();
    let gone = wait_until(PATIENCE, "nothing left", || {
        left = footprint.remains(node);
        left.extend(empty.differences(&NodeState::glance(node)));
        left.extend(is_held(node).then(|| "a hold".to_owned()));
        left.is_empty()
    });
    if gone.is_err() {
        cleanup(node);
    }
    left
}
