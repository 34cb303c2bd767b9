//! A lab with Foreword in the middle and a recording backend behind it.

use std::net::{IpAddr, SocketAddr};

use crate::backend::{Backend, Served, swallow};
use crate::bytes::{assert_same_bytes, join, text};
use crate::client::{Client, Reply};
use crate::command::output_of;
use crate::header::named_headers;
use crate::{Binary, Family, Foreword, Lab, Site};

/// The port that the scenes protect.
pub const PORT: u16 = 80;

/// Flags for each inbound mode, with the lab's load balancer trusted in both families.
pub const REQUIRE: &str = "--inbound require --trust 10.77.1.2,fd77:1::2";
/// See [`REQUIRE`].
pub const OPTIONAL: &str = "--inbound optional --trust 10.77.1.2,fd77:1::2";
/// See [`REQUIRE`].
pub const OFF: &str = "--inbound off";

/// A new lab; root and tools have been looked for already.
pub fn lab() -> Lab {
    Lab::new().expect("root can make namespaces")
}

/// More than the client's and the node's buffers towards it can hold, and less than the node's
/// towards the backend, in [`lab_with_a_narrow_client`].
pub const BACKLOG: usize = 600_000;

/// A lab in which a client that reads nothing leaves most of [`BACKLOG`] in the node's socket to
/// the backend, in segments that did not grow on their way.
pub fn lab_with_a_narrow_client() -> Lab {
    let lab = lab();
    let narrow = "4096 16384 16384";
    lab.client.sysctl("net/ipv4/tcp_rmem", narrow).expect("root may set it");
    lab.node.sysctl("net/ipv4/tcp_wmem", narrow).expect("root may set it");
    lab.node.sysctl("net/ipv4/tcp_rmem", "4096 4194304 4194304").expect("root may set it");
    let mut ethtool = lab.backend.command("ethtool");
    ethtool.args(["-K", "eth0", "tso", "off", "gso", "off"]);
    output_of(ethtool);
    lab
}

/// A new site, where the node has a router in front and pods behind.
pub fn site() -> Site {
    Site::new().expect("root can make namespaces")
}

/// Foreword on the node's `eth0`, port 80, and a backend at the VIP: [`Binary::scene`].
///
/// The fields are dropped in their order: Foreword before the namespaces that it runs in.
pub struct Scene {
    /// The product.
    pub foreword: Foreword,
    /// What it connects to.
    pub backend: Backend,
    /// The network around it.
    pub lab: Lab,
    /// What clients connect by.
    pub family: Family,
}

impl Binary {
    /// A scene in a lab of its own, with a backend that only reads. `flags` are those besides
    /// interface and port.
    pub fn scene(self, family: Family, flags: &[&str]) -> Scene {
        self.scene_serving(family, flags, swallow)
    }

    /// A scene whose backend serves each connection like this.
    pub fn scene_serving(
        self,
        family: Family,
        flags: &[&str],
        serve: impl Fn(&mut Served) + Clone + Send + 'static,
    ) -> Scene {
        self.scene_in(lab(), family, flags, serve)
    }

    /// A scene in a lab that the test has prepared.
    pub fn scene_in(
        self,
        lab: Lab,
        family: Family,
        flags: &[&str],
        serve: impl Fn(&mut Served) + Clone + Send + 'static,
    ) -> Scene {
        let backend = Backend::start(&lab.backend, SocketAddr::new(family.vip(), PORT), serve);
        let foreword = self.attach(&lab.node, &format!("eth0 --port {PORT} {}", flags.join(" ")));
        Scene { foreword, backend, lab, family }
    }
}

impl Scene {
    /// What clients connect to.
    pub fn vip(&self) -> SocketAddr {
        self.backend.address()
    }

    /// A connection from the load balancer.
    pub fn connect(&self) -> Client {
        self.connect_from(self.family.lb())
    }

    /// A connection from any address of the client's namespace.
    pub fn connect_from(&self, from: IpAddr) -> Client {
        Client::connect(&self.lab.client, from, self.vip())
    }

    /// Asserts that connection `number` brought the backend exactly `expected`.
    pub fn assert_received(&self, number: usize, expected: &[u8]) {
        assert_same_bytes(&self.backend.received(number), expected);
    }

    /// Asserts that connection `number` came to the backend by way of the node, and is not the
    /// client's own.
    pub fn assert_proxied(&self, number: usize) {
        assert_eq!(self.backend.recording(number).peer.ip(), self.family.node_back());
    }

    /// Asserts that the backend has not seen a single connection so far.
    ///
    /// Sends one good connection through and finds it to be the backend's first, so that nothing
    /// can have been merely late. The inbound mode must take a v2 header from the load balancer.
    pub fn assert_no_upstream(&self) {
        let [_, header] = named_headers(self.family);
        let mut witness = self.connect();
        witness.send(&join(&header, b"witness"));
        assert_eq!(witness.finish_and_rest(), Reply::ended(b""));
        let received = self.backend.received(0);
        assert!(received.ends_with(b"witness"), "came before: {}", text(&received));
        assert_eq!(self.backend.connections(), 1);
    }
}
