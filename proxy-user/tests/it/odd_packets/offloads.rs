//! Packets of all sizes that segmentation and receive offloads bring about, with checksums that are
//! there or still to be made.

use netlab::{Family, Netns, OFF, Reply, Scene, lab, output_of};

use super::echo_later;
use crate::FOREWORD;
use crate::maps::packets;

/// What is moved in each direction: so many numbers of four octets, 16 MiB.
const BULK: u32 = 4 << 20;

/// How many packets that would be at least, if none were larger than the link's MTU of 1500.
const SEGMENTS: u64 = BULK as u64 * 4 / 1460;

/// Moves [`BULK`] through a scene that serves by [`echo_later`], there and back. Gives the number
/// of packets that were steered and that were returned: data of one direction, and what
/// acknowledges the other one.
fn move_bulk(scene: &Scene) -> [u64; 2] {
    let bulk: Vec<u8> = (0..BULK).flat_map(u32::to_be_bytes).collect();
    let mut client = scene.connect();
    client.send(&bulk);
    let reply = client.finish_and_rest();
    assert!(scene.backend.received(0) == bulk, "other bytes arrived");
    assert!(reply == Reply::ended(&bulk), "other bytes came back, then {:?}", reply.end);
    ["steered_flow", "returned"].map(|counter| packets(&scene.foreword, counter))
}

/// With segmentation left to the card, as is the rule, packets are up to 64 KiB long.
#[apply(both_families)]
fn super_packets_stay_whole(family: Family) {
    let scene = FOREWORD.scene_serving(family, &[OFF, "--outbound none"], echo_later);
    let packets = move_bulk(&scene);
    assert!(packets.iter().all(|n| *n < SEGMENTS / 4), "{packets:?} of {SEGMENTS} segments");
}

/// Every packet is then of an ordinary size, or has a checksum that is already there, or both.
#[apply(both_families)]
fn they_can_be_off(family: Family) {
    for (client, node) in [
        ("tx off rx off", "tx off rx off"),
        ("tso off gso off", "tso off gso off gro off"),
        ("tso off gso off", "gro on"),
        ("tx off rx off", "gro on"),
    ] {
        let lab = lab();
        set_offloads(&lab.client, client);
        set_offloads(&lab.node, node);
        let scene = FOREWORD.scene_in(lab, family, &[OFF, "--outbound none"], echo_later);
        let [steered, _] = move_bulk(&scene);
        // Receive offload, where it is on, may put some together again.
        let are_single = !node.contains("gro on");
        assert!(!are_single || steered >= SEGMENTS, "{client}: {steered} packets are too few");
    }
}

fn set_offloads(netns: &Netns, features: &str) {
    let mut ethtool = netns.command("ethtool");
    ethtool.args(["-K", "eth0"]).args(features.split_whitespace());
    output_of(ethtool);
}
