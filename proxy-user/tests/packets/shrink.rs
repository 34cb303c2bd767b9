//! Shrinks a frame that fails, until nothing can be left out of it.

use crate::packet::{Arrival, Ipv4, Ipv6, Length, Network, Packet, Payload, Recipient, Tcp};

/// The smallest frame that still `fails`.
pub fn shrink(mut packet: Packet, mut fails: impl FnMut(&Packet) -> bool) -> Packet {
    while let Some(next) = smaller(&packet).into_iter().find(&mut fails) {
        packet = next;
    }
    packet
}

/// The frame with one feature less, in each possible way.
fn smaller(packet: &Packet) -> Vec<Packet> {
    let mut all = Vec::new();
    let mut offer = |change: &dyn Fn(&mut Packet)| {
        let mut next = packet.clone();
        change(&mut next);
        if next != *packet {
            all.push(next);
        }
    };
    offer(&|it| it.cut = None);
    offer(&|it| it.padding.clear());
    offer(&|it| it.padding.truncate(packet.padding.len() / 2));
    offer(&|it| _ = it.padding.pop());
    offer(&|it| it.padding.fill(0));
    offer(&|it| it.arrival = Arrival::PLAIN);
    offer(&|it| it.arrival.interface = Arrival::PLAIN.interface);
    offer(&|it| it.arrival.mark = Arrival::PLAIN.mark);
    offer(&|it| it.arrival.ingress = Arrival::PLAIN.ingress);
    offer(&|it| it.to = Recipient::Ours);
    offer(&|it| it.tags.clear());
    offer(&|it| it.tags.iter_mut().for_each(|tag| tag.control = 0));
    offer(&|it| it.tags.iter_mut().for_each(|tag| tag.protocol = 0x8100));
    for number in 0..packet.tags.len() {
        offer(&|it| _ = it.tags.remove(number));
    }
    if let Some(cut) = packet.cut {
        // Towards the frame's end.
        (1..=4).for_each(|more| offer(&|it| it.cut = Some(cut + more)));
    }
    for network in smaller_network(&packet.network) {
        offer(&|it| it.network = network.clone());
    }
    all
}

fn smaller_network(network: &Network) -> Vec<Network> {
    match network {
        Network::Other(..) => Vec::new(),
        Network::Ipv4(ip) => smaller_ipv4(ip).into_iter().map(Network::Ipv4).collect(),
        Network::Ipv6(ip) => smaller_ipv6(ip).into_iter().map(Network::Ipv6).collect(),
    }
}

fn smaller_ipv4(ip: &Ipv4) -> Vec<Ipv4> {
    let mut all = Vec::new();
    let mut offer = |next: Ipv4| {
        if next != *ip {
            all.push(next);
        }
    };
    offer(Ipv4 { version: 4, ..ip.clone() });
    offer(Ipv4 { header_words: None, ..ip.clone() });
    offer(Ipv4 { options: Vec::new(), ..ip.clone() });
    offer(Ipv4 { options: ip.options.iter().skip(1).copied().collect(), ..ip.clone() });
    offer(Ipv4 { options: vec![[1; 4]; ip.options.len()], ..ip.clone() });
    offer(Ipv4 { fragment: None, ..ip.clone() });
    offer(Ipv4 { length: Length::Right, ..ip.clone() });
    smaller_payload(&ip.payload).for_each(|payload| offer(Ipv4 { payload, ..ip.clone() }));
    all
}

fn smaller_ipv6(ip: &Ipv6) -> Vec<Ipv6> {
    let mut all = Vec::new();
    let mut offer = |next: Ipv6| {
        if next != *ip {
            all.push(next);
        }
    };
    offer(Ipv6 { version: 6, ..ip.clone() });
    offer(Ipv6 { length: Length::Right, ..ip.clone() });
    offer(Ipv6 { extensions: Vec::new(), ..ip.clone() });
    for number in 0..ip.extensions.len() {
        let mut extensions = ip.extensions.clone();
        extensions.remove(number);
        offer(Ipv6 { extensions, ..ip.clone() });
    }
    for number in 0..ip.extensions.len() {
        let mut extensions = ip.extensions.clone();
        extensions[number].shorten();
        offer(Ipv6 { extensions, ..ip.clone() });
    }
    smaller_payload(&ip.payload).for_each(|payload| offer(Ipv6 { payload, ..ip.clone() }));
    all
}

fn smaller_payload(payload: &Payload) -> impl Iterator<Item = Payload> {
    let all = match payload {
        Payload::Tcp(tcp) => smaller_tcp(tcp).into_iter().map(Payload::Tcp).collect(),
        Payload::Udp { .. } => Vec::new(),
        Payload::IcmpError { kind, quoted } => {
            let quotes = smaller_network(quoted).into_iter();
            let quotes = quotes.map(|it| Payload::IcmpError { kind: *kind, quoted: Box::new(it) });
            quotes.collect()
        }
        Payload::Other { bytes, .. } if bytes.is_empty() => Vec::new(),
        Payload::Other { protocol, bytes } => {
            let half = bytes[..bytes.len() / 2].to_vec();
            vec![Payload::Other { protocol: *protocol, bytes: half }]
        }
    };
    all.into_iter()
}

fn smaller_tcp(tcp: &Tcp) -> Vec<Tcp> {
    let simple = [
        Tcp { bytes: Tcp::HEADER, ..*tcp },
        Tcp { header_words: 5, ..*tcp },
        Tcp { acknowledgment: 0, ..*tcp },
        Tcp { flags: Tcp::SYN, ..*tcp },
        Tcp { flags: tcp.flags & (Tcp::SYN | Tcp::ACK | Tcp::RST | Tcp::FIN), ..*tcp },
    ];
    simple.into_iter().filter(|it| it != tcp).collect()
}
