//! The addresses of an upstream's name, in the order in which they are tried (RFC 8305): as the resolver
//! sorts them, but with address families alternating, and the winner of the last race first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::address::UpstreamAddr;

/// How long the winner of a race comes first. After that the others get another chance: what kept them
/// from winning may be gone.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The current addresses of a name, shared by all workers, which hold the lock only to copy them.
#[derive(Debug, Default)]
pub struct Addresses(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    list: Arc<[UpstreamAddr]>,
    /// The last winner that did not come first, and until when it is preferred.
    winner: Option<(UpstreamAddr, Instant)>,
}

impl Addresses {
    /// Replaces the addresses.
    pub fn change(&self, addresses: &[UpstreamAddr]) {
        self.lock().list = interleaved(addresses).into();
    }

    /// The addresses that a connection which begins now is to try.
    pub fn candidates(&self, now: Instant) -> Candidates {
        let mut known = self.lock();
        if known.winner.is_some_and(|(_, until)| until <= now) {
            known.winner = None;
        }
        let first =
            known.winner.and_then(|(winner, _)| known.list.iter().position(|it| *it == winner));
        Candidates::Many { list: Arc::clone(&known.list), first: first.unwrap_or(0) }
    }

    /// Prefers an address that was reached before the one that comes first.
    pub fn prefer(&self, winner: UpstreamAddr, now: Instant) {
        self.lock().winner = Some((winner, now + REMEMBERED));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Alternates the address families, beginning with that of the first address; keeps the order within each.
fn interleaved(addresses: &[UpstreamAddr]) -> Vec<UpstreamAddr> {
    let is_like_first = |it: &UpstreamAddr| it.get().is_ipv4() == addresses[0].get().is_ipv4();
    let (own, other): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(is_like_first);
    let (mut own, mut other) = (own.into_iter(), other.into_iter());
    let mut all = Vec::with_capacity(addresses.len());
    while all.len() < addresses.len() {
        all.extend(own.next());
        all.extend(other.next());
    }
    all
}

/// The addresses that one connection tries, even if those of the name change meanwhile.
#[derive(Clone, Debug)]
pub enum Candidates {
    /// A fixed address.
    One(UpstreamAddr),
    /// The addresses of a name, one of them before the others.
    Many {
        /// All of them.
        list: Arc<[UpstreamAddr]>,
        /// The number of the one that comes first.
        first: usize,
    },
}

impl Candidates {
    /// The address to try after so many others; `None`: there are no more.
    pub fn get(&self, number: usize) -> Option<UpstreamAddr> {
        match self {
            Self::One(address) => (number == 0).then_some(*address),
            Self::Many { list, first } => {
                let at = if number == 0 {
                    *first
                } else if number <= *first {
                    number - 1
                } else {
                    number
                };
                list.get(at).copied()
            }
        }
    }

    /// Whether there is more than one.
    pub fn are_several(&self) -> bool {
        matches!(self, Self::Many { list, .. } if list.len() > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<UpstreamAddr> {
        list.iter().map(|it| UpstreamAddr::new(it.parse().unwrap())).collect()
    }

    fn tried(candidates: &Candidates) -> Vec<String> {
        (0..).map_while(|number| candidates.get(number)).map(|it| it.to_string()).collect()
    }

    #[test]
    fn families_alternate_beginning_with_the_resolvers_first() {
        let of = |list: &[&str]| {
            let known = Addresses::default();
            known.change(&addresses(list));
            tried(&known.candidates(Instant::now()))
        };
        assert_eq!(
            of(&["[fd00::1]:80", "[fd00::2]:80", "[fd00::3]:80", "10.0.0.1:80"]),
            ["[fd00::1]:80", "10.0.0.1:80", "[fd00::2]:80", "[fd00::3]:80"]
        );
        assert_eq!(of(&["10.0.0.1:80", "10.0.0.2:80"]), ["10.0.0.1:80", "10.0.0.2:80"]);
        assert!(of(&[]).is_empty());
    }

    #[test]
    fn the_winner_comes_first_for_a_while_and_only_as_long_as_the_name_has_it() {
        let (known, now) = (Addresses::default(), Instant::now());
        let all = addresses(&["[fd00::1]:80", "10.0.0.1:80", "[fd00::2]:80"]);
        known.change(&all);
        known.prefer(all[2], now);
        let first = ["[fd00::2]:80", "[fd00::1]:80", "10.0.0.1:80"];
        assert_eq!(tried(&known.candidates(now)), first);
        known.change(&all[..2]);
        assert_eq!(tried(&known.candidates(now)), ["[fd00::1]:80", "10.0.0.1:80"]);
        known.change(&all);
        assert_eq!(tried(&known.candidates(now)), first, "it is back");
        assert_eq!(tried(&known.candidates(now + REMEMBERED))[0], "[fd00::1]:80");
        assert_eq!(tried(&known.candidates(now))[0], "[fd00::1]:80", "it is forgotten");
    }

    #[test]
    fn one_address_is_tried_once() {
        let one = Candidates::One(addresses(&["10.0.0.1:80"])[0]);
        assert_eq!(tried(&one), ["10.0.0.1:80"]);
        assert!(!one.are_several());
    }
}
