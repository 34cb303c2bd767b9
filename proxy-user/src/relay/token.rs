//! How epoll and the timer wheel refer to a session.

use slotmap::{Key as _, KeyData, new_key_type};

new_key_type! {
    /// A session, as its worker knows it. A key is never used twice, so events and deadlines of a session
    /// that is over find nothing.
    pub struct SessionKey;
}

/// A key has its slot's number in its lower half and, in its upper half, a version, which is never 0. So
/// tokens below `1 << 32` are free for whatever else a worker watches.
const SLOT: u64 = u32::MAX as u64;

/// One of a session's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The accepted one.
    Client,
    /// The one to the upstream, or the leading attempt to connect to it.
    Upstream,
    /// Another attempt to connect to the upstream.
    Racing,
}

impl Side {
    /// The token of this socket's events.
    pub fn token(self, key: SessionKey) -> u64 {
        let key = key.data().as_ffi();
        // There are far fewer open files than the 2^30 slots that this leaves.
        (key & !SLOT) | (key << 2 & SLOT) | self as u64
    }

    /// The session and the socket that a token stands for.
    pub fn of_token(token: u64) -> (SessionKey, Self) {
        let side = match token & 3 {
            0 => Self::Client,
            1 => Self::Upstream,
            _ => Self::Racing,
        };
        let key = KeyData::from_ffi((token & !SLOT) | (token & SLOT) >> 2);
        (key.into(), side)
    }
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    #[test]
    fn a_token_stands_for_one_socket_of_one_session() {
        let mut sessions = SlotMap::<SessionKey, ()>::with_key();
        let first = sessions.insert(());
        sessions.remove(first);
        let keys = [first, sessions.insert(()), sessions.insert(())];
        let sides = [Side::Client, Side::Upstream, Side::Racing];
        let all: Vec<_> = keys.iter().flat_map(|key| sides.map(|side| (*key, side))).collect();
        for (key, side) in &all {
            let token = side.token(*key);
            assert_eq!(Side::of_token(token), (*key, *side));
            assert!(token > SLOT, "it could be another of the worker's tokens");
            let same = all.iter().filter(|(key, side)| side.token(*key) == token);
            assert_eq!(same.count(), 1);
        }
    }

    #[test]
    fn an_event_of_a_session_that_is_over_finds_nothing() {
        let mut sessions = SlotMap::<SessionKey, ()>::with_key();
        let key = sessions.insert(());
        let stale = Side::Client.token(key);
        sessions.remove(key);
        let next = sessions.insert(());
        assert_ne!(Side::Client.token(next), stale);
        assert!(!sessions.contains_key(Side::of_token(stale).0));
    }
}
