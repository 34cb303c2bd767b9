//! Policy: whoever connects, and whatever the rule says, nobody is believed who must not be.
//!
//! Membership in a range is worked out here once more, bit by bit and by other means than the
//! policy's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use foreword::address::{Cidr, OriginalDst, PeerAddr};
use foreword::config::settings::{Inbound, Mode, Untrusted};
use foreword::config::{Syntax, file, validate};
use foreword::header::{Endpoints, Origin};
use foreword::policy::{Action, decide, effective_origin};
use proxy_common::Reason;

/// What policy doesn't look at.
static DEFAULT: LazyLock<Inbound> = LazyLock::new(|| {
    let text = "{ interfaces: [a], rules: [{ name: a, ports: [1], inbound: { mode: 'off' }, outbound: { \
                version: none } }] }";
    let raw = file::parse(text).expect("it is YAML");
    validate(&raw, Syntax::File).expect("it is valid").rules.remove(0).inbound
});

/// More would only take longer.
const MOST_RANGES: usize = 8;

/// Checks one input.
pub fn check(data: &[u8]) {
    let Ok(mut case) = Case::arbitrary_take_rest(Unstructured::new(data)) else { return };
    case.ranges.truncate(MOST_RANGES);
    let address = case.peer();
    let peer = PeerAddr::new(address);
    let inbound = case.inbound();
    let action = decide(&inbound, peer, || case.is_pod);
    let trusted = case.ranges.iter().any(|range| range.holds(address.ip()));

    let pod = case.is_pod && case.hairpin.is_some_and(|range| range.holds(address.ip()));
    check_verdict(&inbound, address.ip(), (trusted, pod), action);
    check_indifference(&case, peer, action);
    check_origin(&case, peer);
}

/// What the fuzzer chooses.
#[derive(Debug, Arbitrary)]
struct Case {
    mode: u8,
    direct: bool,
    ranges: Vec<Range>,
    peer: SocketAddr,
    /// If there is such a range: the peer lies in it, or differs from such addresses in one bit.
    near: Option<(u8, u8)>,
    destination: SocketAddr,
    stated: Option<Stated>,
    /// Last, so that the bytes of older cases still mean what they meant.
    hairpin: Option<Range>,
    /// Whether it came in by an interface that pods are behind.
    is_pod: bool,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Range {
    address: IpAddr,
    length: u8,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Stated {
    Proxied(SocketAddr, SocketAddr),
    Local,
    Unknown,
}

impl Case {
    fn peer(&self) -> SocketAddr {
        let near = self.near.and_then(|(index, bit)| {
            let range = self.ranges.get(usize::from(index))?;
            Some(range.neighbour(self.peer.ip(), bit))
        });
        SocketAddr::new(near.unwrap_or(self.peer.ip()), self.peer.port())
    }

    fn inbound(&self) -> Inbound {
        Inbound {
            mode: match self.mode % 3 {
                0 => Mode::Require,
                1 => Mode::Optional,
                _ => Mode::Off,
            },
            trusted: self.ranges.iter().map(|range| range.written()).collect(),
            hairpin: self.hairpin.iter().map(|range| range.written()).collect(),
            untrusted: if self.direct { Untrusted::Direct } else { Untrusted::Refuse },
            ..DEFAULT.clone()
        }
    }
}

impl Range {
    /// Family, address as bits at the top of a word, and the prefix's length.
    fn parts(self) -> (bool, u128, u32) {
        let (is_ipv4, bits) = parts(self.address);
        (is_ipv4, bits, u32::from(self.length) % if is_ipv4 { 33 } else { 129 })
    }

    fn holds(self, address: IpAddr) -> bool {
        let (is_ipv4, bits, length) = self.parts();
        let (its_family, its_bits) = parts(canonical(address));
        is_ipv4 == its_family && (bits ^ its_bits) & mask(length) == 0
    }

    /// The range as a person would write it.
    fn written(self) -> Cidr {
        let (is_ipv4, bits, length) = self.parts();
        let text = format!("{}/{length}", address(is_ipv4, bits & mask(length)));
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// An address of the range with the host bits of another, and one bit turned over; bits past
    /// the family's own turn over nothing.
    fn neighbour(self, other: IpAddr, bit: u8) -> IpAddr {
        let (is_ipv4, bits, length) = self.parts();
        let host = parts(other).1 & !mask(length);
        let flip = 1u128.checked_shl(127 - u32::from(bit & 0x7f)).filter(|_| bit < 0x80);
        address(is_ipv4, bits & mask(length) | host ^ flip.unwrap_or_default())
    }
}

/// The bits of a prefix of this length.
fn mask(length: u32) -> u128 {
    u128::MAX.checked_shl(128 - length).unwrap_or_default()
}

/// Whether it is IPv4, and the address as bits at the top of a word.
fn parts(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (true, u128::from(address.to_bits()) << 96),
        IpAddr::V6(address) => (false, address.to_bits()),
    }
}

fn address(is_ipv4: bool, bits: u128) -> IpAddr {
    if is_ipv4 {
        Ipv4Addr::from_bits(u32::try_from(bits >> 96).unwrap_or_default()).into()
    } else {
        Ipv6Addr::from_bits(bits).into()
    }
}

fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The action is the one that the rule's words promise.
fn check_verdict(inbound: &Inbound, source: IpAddr, (trusted, pod): (bool, bool), action: Action) {
    if is_loopback(source) {
        return assert_eq!(action, Action::Unchanged);
    }
    if pod {
        return assert_eq!(action, Action::DirectUnlessSpoofed);
    }
    let open = inbound.mode == Mode::Off && inbound.trusted.is_empty();
    match action {
        Action::Unchanged => panic!("{source} is no loopback address"),
        Action::ReadHeader { required } => {
            assert!(trusted, "{source} is believed and not trusted");
            assert_ne!(inbound.mode, Mode::Off);
            assert_eq!(required, inbound.mode == Mode::Require);
        }
        Action::Direct => assert!(inbound.mode == Mode::Off && (trusted || open)),
        Action::Refuse(reason) => {
            assert_eq!(reason, Reason::UntrustedSource);
            assert!(!trusted && !open && inbound.untrusted == Untrusted::Refuse);
        }
        Action::DirectUnlessSpoofed => {
            assert!(!trusted && !open && inbound.untrusted == Untrusted::Direct);
        }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    let (is_ipv4, bits) = parts(canonical(address));
    if is_ipv4 { bits >> 120 == 127 } else { bits == 1 }
}

/// What must not matter does not: the form of the peer's address, its port, the order of the
/// ranges, a range that comes twice.
fn check_indifference(case: &Case, peer: PeerAddr, action: Action) {
    let mut inbound = case.inbound();
    if let IpAddr::V4(address) = peer.ip() {
        let mapped = SocketAddr::new(address.to_ipv6_mapped().into(), peer.get().port());
        assert_eq!(
            decide(&inbound, PeerAddr::new(mapped), || case.is_pod),
            action,
            "in mapped form"
        );
    }
    let other_port = SocketAddr::new(peer.ip(), !peer.get().port());
    assert_eq!(
        decide(&inbound, PeerAddr::new(other_port), || case.is_pod),
        action,
        "from another port"
    );
    inbound.trusted.reverse();
    inbound.trusted.extend(inbound.trusted.first().copied());
    assert_eq!(decide(&inbound, peer, || case.is_pod), action, "with the ranges in another order");
}

/// The upstream is told what the header states, or else the real endpoints.
fn check_origin(case: &Case, peer: PeerAddr) {
    let destination = OriginalDst::new(case.destination);
    let origin = case.stated.map(|stated| match stated {
        Stated::Proxied(client, destination) => {
            Origin::Proxied(Endpoints::new(client, destination))
        }
        Stated::Local => Origin::Local,
        Stated::Unknown => Origin::Unknown,
    });
    let told = effective_origin(origin, peer, destination);
    match origin {
        Some(stated @ (Origin::Proxied(_) | Origin::Local)) => assert_eq!(told, stated),
        Some(Origin::Unknown) | None => {
            let Origin::Proxied(endpoints) = told else { panic!("{told:?} leaves it open") };
            assert_eq!(endpoints.client.get(), peer.get());
            assert_eq!(endpoints.destination, destination);
        }
    }
}
