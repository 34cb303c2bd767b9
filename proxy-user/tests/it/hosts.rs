//! What a node knows of names: `/etc/hosts`, `resolv.conf` and `gai.conf` of a program's own, and a
//! DNS server that never answers.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use netlab::{Netns, PATIENCE, Scratch};

use crate::FOREWORD;

/// Nobody listens there: a query is refused at once.
const NO_SERVER: &str = "nameserver 127.0.0.1\n";

/// The files, for programs that are started with them.
pub struct Hosts(Scratch);

impl Hosts {
    /// `hosts` says this, and what it does not say is not found.
    pub fn saying(hosts: &str) -> Self {
        Self::with(hosts, NO_SERVER)
    }

    /// What `hosts` does not say is asked of this DNS server.
    pub fn asking(server: SocketAddr) -> Self {
        // It is asked once, and long enough for nobody to wait until it is given up.
        let options = "options timeout:30 attempts:5";
        Self::with("", &format!("nameserver {}\n{options}\n", server.ip()))
    }

    fn with(hosts: &str, resolv: &str) -> Self {
        let scratch = Scratch::new();
        scratch.write("hosts", hosts);
        scratch.write("resolv.conf", resolv);
        Self(scratch)
    }

    /// `hosts` says something else from now on.
    pub fn say(&self, hosts: &str) {
        // In place, since what is mounted is this very file.
        fs::write(self.0.path().join("hosts"), hosts).expect("a file of ours can be written");
    }

    /// A command line that ends in `foreword`, which sees these files in the place of the machine's.
    pub fn command(&self, node: &Netns) -> Command {
        const SCRIPT: &str = "for file in hosts resolv.conf; do mount --bind $0/$file /etc/$file; done; \
                              exec \"$@\"";
        let mut command = node.command("unshare");
        command.args(["--mount", "sh", "-ec", SCRIPT]).arg(self.0.path()).arg(FOREWORD.path());
        command
    }
}

/// A DNS server that takes questions and answers none.
pub struct SilentServer(UdpSocket);

impl SilentServer {
    pub fn start(netns: &Netns, address: SocketAddr) -> Self {
        let socket = netns.run(|| UdpSocket::bind(address)).expect("nobody else is there");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero is valid");
        Self(socket)
    }

    /// Waits until it has been asked.
    pub fn wait_for_question(&self) {
        self.0.recv_from(&mut [0; 512]).expect("it is asked");
    }
}

/// Longer than a name may take.
pub const NAME_PATIENCE: Duration = Duration::from_secs(25);
