//! Whose header is believed, and what the upstream is told: pure decisions, made once per connection.
//!
//! Whether a header is expected is configured, never guessed (pp02), and a header is believed because
//! of where it comes from, never because of how it looks. Nothing here reads a socket or a clock.

pub mod cutover;

use crate::address::{OriginalDst, PeerAddr};
use crate::config::settings::{Inbound, Mode, Untrusted};
use crate::header::{Endpoints, Origin, Version};
use proxy_common::Reason;

/// What to do with a connection, decided by its source alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The source is a loopback address: relay its bytes unchanged, and write no header.
    Unchanged,
    /// Close the connection, and open no upstream.
    Refuse(Reason),
    /// The peer is the client, and every byte is payload.
    Direct,
    /// The peer is the client. Its bytes are payload, unless they begin with a header's signature:
    /// that is an attempt to pass for another client, and is refused. What follows the signature need
    /// not be well-formed, since the upstream might believe it all the same.
    DirectUnlessSpoofed,
    /// The peer is trusted: read its header, and believe it.
    ReadHeader {
        /// Whether a connection without a header is closed.
        required: bool,
    },
}

/// Decides what to do with a connection from this peer. `is_pod` tells whether the connection came in
/// by an interface of one of the node's own pods; it is called only where that matters.
pub fn decide(inbound: &Inbound, peer: PeerAddr, is_pod: impl FnOnce() -> bool) -> Action {
    if peer.ip().is_loopback() {
        return Action::Unchanged;
    }
    // A pod's range often lies inside a trusted one; what the rule says about pods is more specific.
    if inbound.hairpin.iter().any(|range| range.contains(peer.ip())) && is_pod() {
        return Action::DirectUnlessSpoofed;
    }
    let trusted = inbound.trusted.iter().any(|range| range.contains(peer.ip()));
    match (inbound.mode, trusted, inbound.untrusted) {
        (Mode::Require, true, _) => Action::ReadHeader { required: true },
        (Mode::Optional, true, _) => Action::ReadHeader { required: false },
        (Mode::Off, true, _) => Action::Direct,
        // `off` believes nobody's header. Without trusted ranges there are no untrusted sources either.
        (Mode::Off, false, _) if inbound.trusted.is_empty() => Action::Direct,
        (_, false, Untrusted::Refuse) => Action::Refuse(Reason::UntrustedSource),
        (_, false, Untrusted::Direct) => Action::DirectUnlessSpoofed,
    }
}

/// On whose behalf the upstream is opened, given what the inbound header said (`None`: there was none).
///
/// A header that states no endpoints (pp17, pp26, pp27) means the real ones. LOCAL stays LOCAL: the
/// load balancer speaks for itself.
pub fn effective_origin(
    inbound: Option<Origin>,
    peer: PeerAddr,
    destination: OriginalDst,
) -> Origin {
    match inbound {
        Some(Origin::Proxied(endpoints)) => Origin::Proxied(endpoints),
        Some(Origin::Local) => Origin::Local,
        Some(Origin::Unknown) | None => {
            Origin::Proxied(Endpoints { client: peer.as_client(), destination })
        }
    }
}

/// What a header of this version says about it: v1 has no LOCAL, and states the real endpoints instead
/// (pp24).
pub fn written_origin(
    version: Version,
    origin: Origin,
    peer: PeerAddr,
    destination: OriginalDst,
) -> Origin {
    match (version, origin) {
        (Version::V1, Origin::Local) => {
            Origin::Proxied(Endpoints { client: peer.as_client(), destination })
        }
        _ => origin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::ClientAddr;
    use crate::config::fixtures;

    fn decide(inbound: &Inbound, peer: PeerAddr) -> Action {
        super::decide(inbound, peer, || true)
    }

    const MODES: [Mode; 3] = [Mode::Require, Mode::Optional, Mode::Off];

    fn inbound(mode: Mode, trusted: &[&str], untrusted: Untrusted) -> Inbound {
        Inbound { untrusted, ..fixtures::inbound(mode, trusted) }
    }

    fn peer(address: &str) -> PeerAddr {
        PeerAddr::new(address.parse().unwrap())
    }

    #[test]
    fn loopback_goes_through_unchanged_whatever_the_rule_says() {
        for mode in MODES {
            for untrusted in [Untrusted::Refuse, Untrusted::Direct] {
                let inbound = inbound(mode, &["0.0.0.0/0", "::/0"], untrusted);
                for source in ["127.0.0.1:5", "127.9.9.9:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
                    assert_eq!(decide(&inbound, peer(source)), Action::Unchanged, "{source}");
                }
            }
        }
    }

    #[test]
    fn trusted_sources_follow_the_mode() {
        let action = |mode, source| {
            decide(&inbound(mode, &["10.0.0.0/8", "fd00::/8"], Untrusted::Refuse), peer(source))
        };
        for source in ["10.1.2.3:5", "[::ffff:10.1.2.3]:5", "[fd00::5]:5"] {
            assert_eq!(action(Mode::Require, source), Action::ReadHeader { required: true });
            assert_eq!(action(Mode::Optional, source), Action::ReadHeader { required: false });
            assert_eq!(action(Mode::Off, source), Action::Direct);
        }
    }

    #[test]
    fn nobody_else_is_believed_in_any_mode() {
        for mode in MODES {
            for source in ["11.0.0.1:5", "[fe80::1]:5"] {
                let refuse = inbound(mode, &["10.0.0.0/8"], Untrusted::Refuse);
                let expected = Action::Refuse(Reason::UntrustedSource);
                assert_eq!(decide(&refuse, peer(source)), expected);
                let direct = inbound(mode, &["10.0.0.0/8"], Untrusted::Direct);
                assert_eq!(decide(&direct, peer(source)), Action::DirectUnlessSpoofed);
            }
        }
    }

    #[test]
    fn off_without_trusted_ranges_takes_everybody_for_a_client() {
        for untrusted in [Untrusted::Refuse, Untrusted::Direct] {
            let off = inbound(Mode::Off, &[], untrusted);
            assert_eq!(decide(&off, peer("11.0.0.1:5")), Action::Direct);
        }
    }

    #[test]
    fn pods_are_clients_of_their_own_even_inside_a_trusted_range() {
        for mode in MODES {
            let mut inbound = inbound(mode, &["10.0.0.0/8"], Untrusted::Refuse);
            inbound.hairpin = vec!["10.244.0.0/16".parse().unwrap()];
            let decide = |source, is_pod| super::decide(&inbound, peer(source), || is_pod);
            assert_eq!(decide("10.244.1.2:5", true), Action::DirectUnlessSpoofed);
            assert_ne!(decide("10.1.2.3:5", true), Action::DirectUnlessSpoofed);
            // Coming in by another interface, it is judged by its address alone.
            assert_ne!(decide("10.244.1.2:5", false), Action::DirectUnlessSpoofed);
        }
    }

    #[test]
    fn the_upstream_is_told_the_real_endpoints_where_the_header_leaves_them_open() {
        let (lb, vip) = (peer("10.0.0.1:40000"), "203.0.113.10:443".parse().unwrap());
        let destination = OriginalDst::new(vip);
        let real = Origin::Proxied(Endpoints { client: lb.as_client(), destination });
        assert_eq!(effective_origin(None, lb, destination), real);
        assert_eq!(effective_origin(Some(Origin::Unknown), lb, destination), real);
        assert_eq!(effective_origin(Some(Origin::Local), lb, destination), Origin::Local);
        let stated = Origin::Proxied(Endpoints {
            client: ClientAddr::new("198.51.100.7:9".parse().unwrap()),
            destination: OriginalDst::new("192.0.2.1:443".parse().unwrap()),
        });
        assert_eq!(effective_origin(Some(stated), lb, destination), stated);
        for (version, told, says) in [
            (Version::V1, Origin::Local, real),
            (Version::V1, stated, stated),
            (Version::V2, Origin::Local, Origin::Local),
            (Version::V2, stated, stated),
        ] {
            assert_eq!(written_origin(version, told, lb, destination), says, "{version} {told:?}");
        }
    }
}
