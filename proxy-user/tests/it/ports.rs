//! Local ports towards an upstream: how many there are, what is said when there are no more, and what
//! makes more of them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use netlab::{
    Client, End, Family, Lab, OFF, PATIENCE, Reply, Scene, Served, echo, lab, wait_until,
};

use crate::FOREWORD;
use crate::maps::refused;

/// How many local ports the node has.
const PORTS: usize = 10;

/// A lab whose node has few ports, and two addresses besides its own towards the backend.
fn narrow_lab(family: Family) -> Lab {
    let lab = lab();
    let range = format!("40000 {}", 40000 + PORTS - 1);
    lab.node.sysctl("net/ipv4/ip_local_port_range", &range).expect("root may set it");
    lab.node.sysctl("net/ipv4/tcp_tw_reuse", "0").expect("root may set it");
    for address in others(family) {
        let add = format!("address add {address}/{} dev eth1 nodad", family.link_prefix());
        let add = if family == Family::V4 { add.replace(" nodad", "") } else { add };
        lab.node.ip(&add).expect("the address is new");
    }
    lab
}

/// In the network between node and backend.
fn others(family: Family) -> [IpAddr; 2] {
    [7, 8].map(|host: u8| match family.node_back() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, host).into()
        }
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[15] = host;
            Ipv6Addr::from(octets).into()
        }
    })
}

fn scene(family: Family, flags: &str) -> Scene {
    FOREWORD.scene_in(narrow_lab(family), family, &[OFF, "--outbound none", flags], echo)
}

/// Opens connections until one is refused; those before it are open.
fn open_all(scene: &Scene) -> Vec<Client> {
    let mut open = Vec::new();
    while let Some(client) = try_connect(scene) {
        // Whichever of the two meets the reset has it to itself.
        let mut stream = client.stream();
        let echo = stream.write_all(b"x").and_then(|()| stream.read_exact(&mut [0]));
        match echo {
            Ok(()) => open.push(client),
            Err(error) => {
                assert_eq!(End::from_error(&error), End::Reset);
                break;
            }
        }
    }
    open
}

/// One that is refused may hear of it as early as from its connect.
fn try_connect(scene: &Scene) -> Option<Client> {
    Client::try_connect(&scene.lab.client, scene.family.lb(), scene.vip()).ok()
}

fn assert_counted(scene: &Scene, count: u64) {
    let counted = || refused(&scene.foreword, "no-local-port") == count;
    wait_until(PATIENCE, "the count", counted).expect("it is counted");
}

#[apply(both_families)]
fn without_a_port_a_connection_is_refused(family: Family) {
    let scene = scene(family, "");
    let open = open_all(&scene);
    assert_eq!(open.len(), PORTS);
    if let Some(mut another) = try_connect(&scene) {
        another.offer(b"x");
        another.rest().assert_cut("another");
    }
    assert_counted(&scene, 2);
    let said = scene.foreword.output();
    assert!(said.contains("reason=no-local-port"), "{said}");
    let advice: Vec<_> = said.lines().filter(|line| line.contains("sourceAddresses")).collect();
    assert!((1..=2).contains(&advice.len()), "once a minute and worker: {said}");
    assert!(advice[0].contains("ip_local_port_range"), "{said}");
    // Those that are open have lost nothing.
    for client in open {
        assert_eq!(client.finish_and_rest(), Reply::ended(b""));
    }
}

#[apply(both_families)]
fn each_source_address_has_ports_of_its_own(family: Family) {
    let own = others(family);
    let [one, two] = own;
    let scene = scene(family, &format!("--source-address {one},{two}"));
    let open = open_all(&scene);
    assert_eq!(open.len(), 2 * PORTS);
    let peers = (0..2 * PORTS).map(|number| scene.backend.recording(number).peer.ip());
    let peers: Vec<_> = peers.collect();
    for own in own {
        assert_eq!(peers.iter().filter(|peer| **peer == own).count(), PORTS, "{own}: {peers:?}");
    }
    assert_counted(&scene, 1);
    drop(open);
}

#[apply(both_families)]
fn a_source_address_that_is_not_there_is_passed_over(family: Family) {
    let [there, _] = others(family);
    let absent = family.vip();
    let scene = scene(family, &format!("--source-address {absent},{there}"));
    let said = scene.foreword.output();
    let warning = format!("{absent} is not an address of this node");
    assert!(said.contains(&warning) && said.contains("--source-address"), "{said}");
    for number in 0..4 {
        let mut client = scene.connect();
        client.send(b"hello");
        assert_eq!(client.finish_and_rest(), Reply::ended(b"hello"));
        assert_eq!(scene.backend.recording(number).peer.ip(), there);
    }
}

/// Whoever ends a connection first has to remember it for a while.
#[apply(both_families)]
fn a_port_is_free_at_once_where_the_upstream_ends_first(family: Family) {
    let serve = |served: &mut Served| {
        served.read();
        served.send(b"bye");
    };
    let flags = [OFF, "--outbound none"];
    let scene = FOREWORD.scene_in(narrow_lab(family), family, &flags, serve);
    let begin = Instant::now();
    for _ in 0..3 * PORTS {
        let mut client = scene.connect();
        client.send(b"hello");
        assert_eq!(client.rest(), Reply::ended(b"bye"));
        // The upstream's port is free when its last acknowledgement is there.
        drop(client);
    }
    assert_counted(&scene, 0);
    assert!(begin.elapsed().as_secs() < 50, "else the kernel has forgotten the first ones");
}
