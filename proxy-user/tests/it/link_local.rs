//! Link-local IPv6 addresses: each link has them anew, and the way inside is another link. Such
//! connections are left alone, unless a rule restricts who may connect.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream};
use std::time::Duration;

use netlab::{
    Backend, Family, Lab, Netns, OFF, PATIENCE, PORT, echo, hooks, lab, output_of, wait_until,
};
use socket2::{Domain, Socket, Type};

use crate::FOREWORD;
use crate::maps::{dropped, packets};

/// The address that an interface has by itself, and the interface's index. The kernel gives it a little
/// after the link is up.
fn link_local(netns: &Netns, interface: &str) -> (Ipv6Addr, u32) {
    let mut found = None;
    let is_there = wait_until(PATIENCE, "a link-local address", || {
        let mut show = netns.command("ip");
        show.args(["-json", "-6", "address", "show", "dev", interface, "scope", "link"]);
        let shown: serde_json::Value =
            serde_json::from_str(&output_of(show)).expect("ip writes JSON");
        let shown = shown.as_array().into_iter().flatten();
        found = shown.into_iter().find_map(|link| {
            let index = u32::try_from(link["ifindex"].as_u64()?).ok()?;
            let addresses = link["addr_info"].as_array()?;
            let address = addresses.iter().find_map(|address| address["local"].as_str())?;
            Some((address.parse().ok()?, index))
        });
        found.is_some()
    });
    is_there.expect("IPv6 has one on each link");
    found.expect("it was found")
}

/// Both ends of the link between client and node.
struct Ends {
    client: SocketAddr,
    /// The client's scope, since it is the client who connects.
    to_node: SocketAddr,
    node: SocketAddr,
}

impl Ends {
    fn of(lab: &Lab) -> Self {
        let (client, client_scope) = link_local(&lab.client, "eth0");
        let (node, node_scope) = link_local(&lab.node, "eth0");
        let end = |address, port, scope| SocketAddrV6::new(address, port, 0, scope).into();
        Self {
            client: end(client, 0, client_scope),
            to_node: end(node, PORT, client_scope),
            node: end(node, PORT, node_scope),
        }
    }
}

fn connect(
    lab: &Lab,
    from: SocketAddr,
    to: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    lab.client.run(|| {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
        socket.bind(&from.into())?;
        socket.connect_timeout(&to.into(), patience)?;
        Ok(socket.into())
    })
}

/// Without a header, and as the client itself.
#[track_caller]
fn assert_direct(lab: &Lab, server: &Backend, number: usize, (from, to): (SocketAddr, SocketAddr)) {
    let mut stream = connect(lab, from, to, PATIENCE).expect("the server answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero is valid");
    stream.write_all(b"hello").expect("it is taken");
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).expect("they come back");
    assert_eq!(&bytes, b"hello");
    let peer = server.recording(number).peer;
    assert_eq!((peer.ip(), peer.port()), (from.ip(), stream.local_addr().expect("it has").port()));
}

#[apply(lab_test)]
fn link_local_connections_are_left_alone() {
    for hook in hooks() {
        let lab = lab();
        let ends = Ends::of(&lab);
        let global: IpAddr = Family::V6.node();
        let by_link = Backend::start(&lab.node, ends.node, echo);
        let by_name = Backend::start(&lab.node, (global, PORT).into(), echo);
        let foreword = FOREWORD
            .attach(&lab.node, &format!("eth0 --port {PORT} {OFF} --outbound v1 --hook {hook}"));
        assert_direct(&lab, &by_link, 0, (ends.client, ends.to_node));
        assert_direct(&lab, &by_name, 0, (ends.client, by_name.address()));
        assert!(packets(&foreword, "passed") > 0, "{hook}: it has seen them");
        let from = Family::V6.lb();
        crate::probe::assert_peer_is_named(&lab.client, from, by_name.address());
    }
}

#[apply(lab_test)]
fn link_local_sources_do_not_get_past_a_rule_that_restricts() {
    for hook in hooks() {
        for trusted in ["fd77:1::2", "fe80::/10"] {
            let lab = lab();
            let ends = Ends::of(&lab);
            let by_link = Backend::start(&lab.node, ends.node, echo);
            let by_name = Backend::start(&lab.node, (Family::V6.node(), PORT).into(), echo);
            let foreword = FOREWORD.attach(
                &lab.node,
                &format!(
                    "eth0 --port {PORT} --inbound require --trust {trusted} --outbound v1 --hook {hook}"
                ),
            );
            let before = dropped(&foreword, "link-local");
            for to in [ends.to_node, by_name.address()] {
                let attempt = connect(&lab, ends.client, to, Duration::from_millis(1500));
                assert!(attempt.is_err(), "{hook}: {to} answered");
            }
            let counted = || dropped(&foreword, "link-local") > before;
            wait_until(PATIENCE, "the count", counted)
                .unwrap_or_else(|error| panic!("{hook}, {trusted}: {error}"));
            assert_eq!((by_link.connections(), by_name.connections()), (0, 0));
        }
    }
}
