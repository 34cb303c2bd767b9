//! Places for HTTP connections, where everybody may connect. There are few, and a new connection always
//! gets one: the connection that has waited longest without a request loses its own. So no slow or
//! silent client can keep a probe from its answer, and nothing grows.

use std::net::{IpAddr, Ipv6Addr};

/// Connections at once.
const MOST: usize = 64;
/// Of one source.
const MOST_OF_ONE: usize = 16;

/// Who has a place. `T` is what a connection is ended by.
#[derive(Debug)]
pub struct Places<T> {
    /// In the order in which they came.
    taken: Vec<Place<T>>,
    next: u64,
}

#[derive(Debug)]
struct Place<T> {
    number: u64,
    source: IpAddr,
    /// Whether its question is there.
    has_asked: bool,
    connection: T,
}

impl<T> Places<T> {
    /// All of them free.
    pub fn new() -> Self {
        Self { taken: Vec::new(), next: 0 }
    }

    /// Gives a place to a connection, which is made for the place's number. Returns the connection
    /// that has to go for it.
    pub fn admit(&mut self, from: IpAddr, connect: impl FnOnce(u64) -> T) -> Option<T> {
        let source = source(from);
        let of_one = self.taken.iter().filter(|place| place.source == source).count();
        let evicted = if of_one >= MOST_OF_ONE {
            self.oldest(|place| place.source == source)
        } else if self.taken.len() >= MOST {
            self.oldest(|_| true)
        } else {
            None
        };
        let evicted = evicted.map(|at| self.taken.remove(at).connection);
        let number = self.next;
        self.next += 1;
        let connection = connect(number);
        self.taken.push(Place { number, source, has_asked: false, connection });
        evicted
    }

    /// Who has waited longest without asking; else who has asked first.
    fn oldest(&self, among: impl Fn(&Place<T>) -> bool) -> Option<usize> {
        let places = self.taken.iter().enumerate().filter(|(_, place)| among(place));
        places.min_by_key(|(_, place)| (place.has_asked, place.number)).map(|(at, _)| at)
    }

    /// Notes that a question is there.
    pub fn asks(&mut self, number: u64) {
        if let Some(place) = self.taken.iter_mut().find(|place| place.number == number) {
            place.has_asked = true;
        }
    }

    /// Takes a place back, if it is not taken back already.
    pub fn leave(&mut self, number: u64) {
        self.taken.retain(|place| place.number != number);
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
        let mut places = Places::new();
        assert_eq!(places.admit(host(1), |number| number), None);
        let evicted: Vec<_> =
            (0..1000).filter_map(|_| places.admit(host(2), |number| number)).collect();
        assert_eq!(evicted.len(), 1000 - MOST_OF_ONE);
        assert!(evicted.is_sorted() && !evicted.contains(&0), "{evicted:?}");
        assert_eq!(places.taken.len(), MOST_OF_ONE + 1);
    }

    #[test]
    fn many_sources_have_no_more_than_all_places() {
        let mut places = Places::new();
        for number in 0..1000 {
            let evicted = places.admit(host(number), |number| number);
            let oldest = u64::from(number).checked_sub(MOST as u64);
            assert_eq!(evicted, oldest);
        }
        assert_eq!(places.taken.len(), MOST);
    }

    #[test]
    fn who_has_asked_goes_last() {
        let mut places = Places::new();
        for number in 0..MOST_OF_ONE as u64 {
            places.admit(host(1), |number| number);
            if number != 5 {
                places.asks(number);
            }
        }
        assert_eq!(places.admit(host(1), |number| number), Some(5));
        places.asks(MOST_OF_ONE as u64);
        assert_eq!(places.admit(host(1), |number| number), Some(0), "all have asked");
        places.leave(7);
        assert_eq!(places.admit(host(1), |number| number), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let same = ["fd00::1", "fd00::ffff:1:2:3"].map(|text| source(text.parse().unwrap()));
        assert_eq!(same[0], same[1]);
        assert_ne!(same[0], source("fd00:0:0:1::1".parse().unwrap()));
        assert_eq!(source("::ffff:10.0.0.1".parse().unwrap()), host(1));
    }
}
