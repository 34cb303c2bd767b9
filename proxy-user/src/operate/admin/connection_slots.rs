//! Slots for HTTP connections, where anybody may connect. There are few, and a new connection always gets
//! one: the connection that has waited longest without a request loses its slot. So no slow or silent
//! client can keep a probe from its answer, and nothing grows.

use std::net::{IpAddr, Ipv6Addr};

/// Open connections at most.
const MAX_CONNECTIONS: usize = 64;
/// Open connections of one source at most.
const MAX_PER_SOURCE: usize = 16;

/// The connections that have a slot. `T` is what a connection is ended by.
#[derive(Debug)]
pub struct ConnectionSlots<T> {
    /// In the order in which they came.
    taken: Vec<Slot<T>>,
    next: u64,
}

#[derive(Debug)]
struct Slot<T> {
    number: u64,
    source: IpAddr,
    /// Whether its request is there.
    has_request: bool,
    connection: T,
}

impl<T> ConnectionSlots<T> {
    /// All of them free.
    pub fn new() -> Self {
        Self { taken: Vec::new(), next: 0 }
    }

    /// Gives a slot to a new connection, which `connect` makes for the slot's number. Returns the connection
    /// that is evicted for it, if any.
    pub fn admit(&mut self, from: IpAddr, connect: impl FnOnce(u64) -> T) -> Option<T> {
        let source = source(from);
        let of_one = self.taken.iter().filter(|slot| slot.source == source).count();
        let evicted = if of_one >= MAX_PER_SOURCE {
            self.oldest(|slot| slot.source == source)
        } else if self.taken.len() >= MAX_CONNECTIONS {
            self.oldest(|_| true)
        } else {
            None
        };
        let evicted = evicted.map(|at| self.taken.remove(at).connection);
        let number = self.next;
        self.next += 1;
        let connection = connect(number);
        self.taken.push(Slot { number, source, has_request: false, connection });
        evicted
    }

    /// The oldest connection without a request; if all have one, the oldest of all.
    fn oldest(&self, among: impl Fn(&Slot<T>) -> bool) -> Option<usize> {
        let slots = self.taken.iter().enumerate().filter(|(_, slot)| among(slot));
        slots.min_by_key(|(_, slot)| (slot.has_request, slot.number)).map(|(at, _)| at)
    }

    /// Notes that its request is there.
    pub fn note_request(&mut self, number: u64) {
        if let Some(slot) = self.taken.iter_mut().find(|slot| slot.number == number) {
            slot.has_request = true;
        }
    }

    /// Frees a slot, if it is still taken.
    pub fn release(&mut self, number: u64) {
        self.taken.retain(|slot| slot.number != number);
    }
}

/// What counts as one source: an IPv6 host has a /64 of addresses to connect from.
fn source(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(from) => Ipv6Addr::from_bits(from.to_bits() & !u128::from(u64::MAX)).into(),
        from @ IpAddr::V4(_) => from,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn host(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn one_source_only_takes_its_own_places() {
        let mut slots = ConnectionSlots::new();
        assert_eq!(slots.admit(host(1), |number| number), None);
        let evicted: Vec<_> =
            (0..1000).filter_map(|_| slots.admit(host(2), |number| number)).collect();
        assert_eq!(evicted.len(), 1000 - MAX_PER_SOURCE);
        assert!(evicted.is_sorted() && !evicted.contains(&0), "{evicted:?}");
        assert_eq!(slots.taken.len(), MAX_PER_SOURCE + 1);
    }

    #[test]
    fn many_sources_have_no_more_than_all_places() {
        let mut slots = ConnectionSlots::new();
        for number in 0..1000 {
            let evicted = slots.admit(host(number), |number| number);
            let oldest = u64::from(number).checked_sub(MAX_CONNECTIONS as u64);
            assert_eq!(evicted, oldest);
        }
        assert_eq!(slots.taken.len(), MAX_CONNECTIONS);
    }

    #[test]
    fn who_has_asked_goes_last() {
        let mut slots = ConnectionSlots::new();
        for number in 0..MAX_PER_SOURCE as u64 {
            slots.admit(host(1), |number| number);
            if number != 5 {
                slots.note_request(number);
            }
        }
        assert_eq!(slots.admit(host(1), |number| number), Some(5));
        slots.note_request(MAX_PER_SOURCE as u64);
        assert_eq!(slots.admit(host(1), |number| number), Some(0), "all have asked");
        slots.release(7);
        assert_eq!(slots.admit(host(1), |number| number), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let same = ["fd00::1", "fd00::ffff:1:2:3"].map(|text| source(text.parse().unwrap()));
        assert_eq!(same[0], same[1]);
        assert_ne!(same[0], source("fd00:0:0:1::1".parse().unwrap()));
        assert_eq!(source("::ffff:10.0.0.1".parse().unwrap()), host(1));
    }
}
