//! Who is believed, and what the upstream is told: pure decisions, made once per connection.
//!
//! Presence of a header is configured, never guessed (pp02), and a header is believed by where it
//! comes from, never by how it looks. Nothing here reads a socket or a clock.

pub mod cutover;

use crate::address::{OriginalDst, PeerAddr};
use crate::config::settings::{Inbound, Mode, Untrusted};
use crate::header::{Endpoints, Origin, Version};
use proxy_common::Reason;

/// What to do with a connection, judged by its source alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A loopback source: pass its bytes on as they are, and write no header.
    Unchanged,
    /// Close it, and open no upstream.
    Refuse(Reason),
    /// The peer is the client, and every byte is payload.
    Direct,
    /// The peer is a client of its own. Its bytes are payload, except that a header's signature in
    /// front is an attempt to pass for another, and refused: what is behind need not be well-formed
    /// for us to be believed by the upstream.
    DirectUnlessSpoofed,
    /// The peer's header is believed; read it.
    ReadHeader {
        /// Whether a connection without one is closed.
        required: bool,
    },
}

/// Judges a connection by its peer. `is_pod` tells whether it came in by an interface that the node's
/// own pods are behind, and is only asked where that matters.
pub fn judge(inbound: &Inbound, peer: PeerAddr, is_pod: impl FnOnce() -> bool) -> Verdict {
    if peer.ip().is_loopback() {
        return Verdict::Unchanged;
    }
    // A pod's range often lies inside a trusted one; what is said of pods is the narrower word.
    if inbound.hairpin.iter().any(|range| range.contains(peer.ip())) && is_pod() {
        return Verdict::DirectUnlessSpoofed;
    }
    let trusted = inbound.trusted.iter().any(|range| range.contains(peer.ip()));
    match (inbound.mode, trusted, inbound.untrusted) {
        (Mode::Require, true, _) => Verdict::ReadHeader { required: true },
        (Mode::Optional, true, _) => Verdict::ReadHeader { required: false },
        (Mode::Off, true, _) => Verdict::Direct,
        // With nobody named, `off` has no trust to withhold: it believes no bytes of anybody.
        (Mode::Off, false, _) if inbound.trusted.is_empty() => Verdict::Direct,
        (_, false, Untrusted::Refuse) => Verdict::Refuse(Reason::UntrustedSource),
        (_, false, Untrusted::Direct) => Verdict::DirectUnlessSpoofed,
    }
}

/// What the upstream is told, from what the inbound header said (`None`: there was no header).
///
/// A header that leaves the endpoints open (pp17, pp26, pp27) means the real ones; LOCAL stays
/// LOCAL, since the load balancer speaks for itself there.
pub fn announce(inbound: Option<Origin>, peer: PeerAddr, destination: OriginalDst) -> Origin {
    match inbound {
        Some(Origin::Proxied(endpoints)) => Origin::Proxied(endpoints),
        Some(Origin::Local) => Origin::Local,
        Some(Origin::Unknown) | None => {
            Origin::Proxied(Endpoints { client: peer.as_client(), destination })
        }
    }
}

/// What the header says for that: v1 has no word for LOCAL, and states the real endpoints (pp24).
pub fn state(version: Version, told: Origin, peer: PeerAddr, destination: OriginalDst) -> Origin {
    match (version, told) {
        (Version::V1, Origin::Local) => {
            Origin::Proxied(Endpoints { client: peer.as_client(), destination })
        }
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::ClientAddr;
    use crate::config::settings::ServerFirst;
    use crate::header::Limits;
    use std::time::Duration;

    fn judge(inbound: &Inbound, peer: PeerAddr) -> Verdict {
        super::judge(inbound, peer, || true)
    }

    const MODES: [Mode; 3] = [Mode::Require, Mode::Optional, Mode::Off];

    fn inbound(mode: Mode, trusted: &[&str], untrusted: Untrusted) -> Inbound {
        Inbound {
            mode,
            trusted: trusted.iter().map(|range| range.parse().unwrap()).collect(),
            hairpin: Vec::new(),
            untrusted,
            limits: Limits::default(),
            timeout: Duration::from_secs(5),
            server_first: ServerFirst::Wait,
            reject_second: false,
        }
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
                    assert_eq!(judge(&inbound, peer(source)), Verdict::Unchanged, "{source}");
                }
            }
        }
    }

    #[test]
    fn trusted_sources_follow_the_mode() {
        let verdict = |mode, source| {
            judge(&inbound(mode, &["10.0.0.0/8", "fd00::/8"], Untrusted::Refuse), peer(source))
        };
        for source in ["10.1.2.3:5", "[::ffff:10.1.2.3]:5", "[fd00::5]:5"] {
            assert_eq!(verdict(Mode::Require, source), Verdict::ReadHeader { required: true });
            assert_eq!(verdict(Mode::Optional, source), Verdict::ReadHeader { required: false });
            assert_eq!(verdict(Mode::Off, source), Verdict::Direct);
        }
    }

    #[test]
    fn nobody_else_is_believed_in_any_mode() {
        for mode in MODES {
            for source in ["11.0.0.1:5", "[fe80::1]:5"] {
                let refuse = inbound(mode, &["10.0.0.0/8"], Untrusted::Refuse);
                let expected = Verdict::Refuse(Reason::UntrustedSource);
                assert_eq!(judge(&refuse, peer(source)), expected);
                let direct = inbound(mode, &["10.0.0.0/8"], Untrusted::Direct);
                assert_eq!(judge(&direct, peer(source)), Verdict::DirectUnlessSpoofed);
            }
        }
    }

    #[test]
    fn off_with_nobody_named_takes_everybody_for_a_client() {
        for untrusted in [Untrusted::Refuse, Untrusted::Direct] {
            let off = inbound(Mode::Off, &[], untrusted);
            assert_eq!(judge(&off, peer("11.0.0.1:5")), Verdict::Direct);
        }
    }

    #[test]
    fn pods_are_clients_of_their_own_even_inside_a_trusted_range() {
        for mode in MODES {
            let mut inbound = inbound(mode, &["10.0.0.0/8"], Untrusted::Refuse);
            inbound.hairpin = vec!["10.244.0.0/16".parse().unwrap()];
            let judge = |source, is_pod| super::judge(&inbound, peer(source), || is_pod);
            assert_eq!(judge("10.244.1.2:5", true), Verdict::DirectUnlessSpoofed);
            assert_ne!(judge("10.1.2.3:5", true), Verdict::DirectUnlessSpoofed);
            // By another interface, it is what its address says without that.
            assert_ne!(judge("10.244.1.2:5", false), Verdict::DirectUnlessSpoofed);
        }
    }

    #[test]
    fn the_upstream_is_told_the_real_endpoints_where_the_header_leaves_them_open() {
        let (lb, vip) = (peer("10.0.0.1:40000"), "203.0.113.10:443".parse().unwrap());
        let destination = OriginalDst::new(vip);
        let real = Origin::Proxied(Endpoints { client: lb.as_client(), destination });
        assert_eq!(announce(None, lb, destination), real);
        assert_eq!(announce(Some(Origin::Unknown), lb, destination), real);
        assert_eq!(announce(Some(Origin::Local), lb, destination), Origin::Local);
        let stated = Origin::Proxied(Endpoints {
            client: ClientAddr::new("198.51.100.7:9".parse().unwrap()),
            destination: OriginalDst::new("192.0.2.1:443".parse().unwrap()),
        });
        assert_eq!(announce(Some(stated), lb, destination), stated);
        for (version, told, says) in [
            (Version::V1, Origin::Local, real),
            (Version::V1, stated, stated),
            (Version::V2, Origin::Local, Origin::Local),
            (Version::V2, stated, stated),
        ] {
            assert_eq!(state(version, told, lb, destination), says, "{version} {told:?}");
        }
    }
}
