//! The table: bytes, and what a receiver has to make of them.
//!
//! Everything here is written from the protocol's text and by hand. Nothing knows a socket.

mod tlv;
mod v1;
mod v2;

use std::net::SocketAddr;

use netlab::header::{named_client, named_destination};
use netlab::{Family, join};

use crate::answer::{Answer, Ends, PAYLOAD};
use crate::rules::{RULES, UNSPOKEN, WITHOUT_CASES};

/// One row.
#[derive(Clone, Debug)]
pub struct Case {
    /// The rule's number.
    pub rule: u8,
    /// The bytes in words; unique within the rule.
    pub name: &'static str,
    /// A header, or what is taken for one.
    pub bytes: Vec<u8>,
    /// Whether [`PAYLOAD`] follows. Without it, the answer has to come by the bytes alone.
    pub is_followed: bool,
    /// What a receiver has to make of it.
    pub expected: Answer,
    /// The TLVs that a proxy passes on.
    pub passed_on: Vec<u8>,
}

impl Case {
    fn new(rule: u8, name: &'static str, bytes: impl Into<Vec<u8>>, expected: Answer) -> Self {
        let bytes = bytes.into();
        Self { rule, name, bytes, is_followed: true, expected, passed_on: Vec::new() }
    }

    fn named(rule: u8, name: &'static str, bytes: impl Into<Vec<u8>>, ends: Ends) -> Self {
        Self::new(rule, name, bytes, Answer::Named(ends))
    }

    fn real(rule: u8, name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(rule, name, bytes, Answer::Real)
    }

    fn local(rule: u8, name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(rule, name, bytes, Answer::Local)
    }

    fn refused(rule: u8, name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(rule, name, bytes, Answer::Refused)
    }

    /// Refused by these bytes alone, with nothing behind them.
    fn refused_at_once(rule: u8, name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { is_followed: false, ..Self::refused(rule, name, bytes) }
    }

    /// The beginning of something that may still become a header.
    fn waits(rule: u8, name: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { is_followed: false, ..Self::new(rule, name, bytes, Answer::Waits) }
    }

    fn passing_on(self, tlvs: &[u8]) -> Self {
        Self { passed_on: tlvs.to_vec(), ..self }
    }

    /// All that a client sends.
    pub fn sent(&self) -> Vec<u8> {
        join(&self.bytes, if self.is_followed { PAYLOAD } else { b"" })
    }

    /// Where its header can be cut into two segments; a cut in front of the payload counts.
    pub fn splits(&self) -> std::ops::Range<usize> {
        1..self.bytes.len() + usize::from(self.is_followed)
    }
}

/// The whole table for connections of one address family, in the rules' order.
pub fn all(family: Family) -> Vec<Case> {
    let mut all = [v1::cases(family), v2::cases(family), tlv::cases(family)].concat();
    all.sort_by_key(|case| case.rule);
    all
}

/// The ends that the headers of this family name.
fn named_ends(family: Family) -> Ends {
    Ends { client: named_client(family), destination: named_destination(family) }
}

fn ends(client: impl Into<SocketAddr>, destination: impl Into<SocketAddr>) -> Ends {
    Ends { client: client.into(), destination: destination.into() }
}

#[test]
fn every_rule_has_its_cases() {
    for family in Family::BOTH {
        let table = all(family);
        for (index, (number, _)) in RULES.iter().enumerate() {
            assert_eq!(usize::from(*number), index + 1);
            let has_cases = table.iter().any(|case| case.rule == *number);
            let has_none = WITHOUT_CASES.contains(number) || UNSPOKEN.contains(number);
            assert_ne!(has_cases, has_none, "pp{number:02}");
        }
        let mut names: Vec<_> = table.iter().map(|case| (case.rule, case.name)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), table.len(), "a name is there twice");
    }
}
