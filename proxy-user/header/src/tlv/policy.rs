//! Which TLVs go to an upstream: which of the inbound ones are passed on, and which are added. A policy
//! does not depend on a connection.

use super::{FIELD_HEAD, kind};

/// Which TLVs go to the upstream. By default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlvPolicy {
    /// Which of the inbound header's TLVs are passed on, in their order, duplicates included.
    /// CRC32C and NOOP never are: one holds for the inbound bytes only, one says nothing.
    pub pass: Pass,
    /// Types that are not passed on although `pass` allows them.
    pub drop: KindSet,
    /// A host name to add.
    pub authority: Option<String>,
    /// TLVs to add.
    pub custom: Vec<CustomTlv>,
    /// Whether to add a CRC32C of the header that is written.
    pub crc32c: bool,
}

impl TlvPolicy {
    /// No TLVs.
    pub const NONE: Self = Self {
        pass: Pass::None,
        drop: KindSet::EMPTY,
        authority: None,
        custom: Vec::new(),
        crc32c: false,
    };

    /// Whether inbound TLVs of this type are passed on.
    pub const fn passes(&self, kind: u8) -> bool {
        let listed = match self.pass {
            Pass::None => false,
            Pass::All => true,
            Pass::Only(kinds) => kinds.contains(kind),
        };
        listed && !self.drop.contains(kind) && !matches!(kind, kind::CRC32C | kind::NOOP)
    }
}

/// Which inbound TLVs to pass on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pass {
    /// None of them.
    #[default]
    None,
    /// All of them.
    All,
    /// Those of these types.
    Only(KindSet),
}

/// A set of TLV types. It can be collected from an iterator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindSet([u128; 2]);

impl KindSet {
    /// The empty set.
    pub const EMPTY: Self = Self([0; 2]);

    /// Whether the type is in the set.
    pub const fn contains(self, kind: u8) -> bool {
        self.0[(kind >> 7) as usize] & Self::bit(kind) != 0
    }

    const fn bit(kind: u8) -> u128 {
        1 << (kind & 0x7f)
    }
}

impl FromIterator<u8> for KindSet {
    fn from_iter<I: IntoIterator<Item = u8>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::EMPTY, |mut set, kind| {
            set.0[usize::from(kind >> 7)] |= Self::bit(kind);
            set
        })
    }
}

/// A TLV to add, of a type that the specification reserves for custom use: 0xE0 to 0xEF (pp42).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomTlv {
    kind: u8,
    value: Vec<u8>,
}

impl CustomTlv {
    /// The longest value in bytes. No header has room for more.
    pub const MAX_VALUE: usize = u16::MAX as usize - FIELD_HEAD;

    /// A TLV of this type and value.
    pub fn new(kind: u8, value: Vec<u8>) -> Result<Self, CustomTlvError> {
        if !(0xE0..=0xEF).contains(&kind) {
            return Err(CustomTlvError::Kind(kind));
        }
        if value.len() > Self::MAX_VALUE {
            return Err(CustomTlvError::Length(value.len()));
        }
        Ok(Self { kind, value })
    }

    /// Its type.
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// Its value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

/// Why a TLV can't be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustomTlvError {
    /// The type is not for custom use.
    #[error("TLV type {0:#04x} is not for custom use; take one from 0xe0 to 0xef")]
    Kind(u8),
    /// The value does not fit into a header.
    #[error("a TLV value of {0} bytes fits no header; it may have {max}", max = CustomTlv::MAX_VALUE)]
    Length(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_what_it_was_made_of() {
        let set: KindSet = [0x00, 0x7f, 0x80, 0xff].into_iter().collect();
        let contained: Vec<u8> = (0..=u8::MAX).filter(|kind| set.contains(*kind)).collect();
        assert_eq!(contained, [0x00, 0x7f, 0x80, 0xff]);
        assert!((0..=u8::MAX).all(|kind| !KindSet::EMPTY.contains(kind)));
    }

    #[test]
    fn the_default_tells_none() {
        assert_eq!(TlvPolicy::default(), TlvPolicy::NONE);
        assert!((0..=u8::MAX).all(|kind| !TlvPolicy::NONE.passes(kind)));
    }

    #[test]
    fn dropping_wins_and_checksum_and_padding_never_pass() {
        let listed: KindSet =
            [kind::ALPN, kind::CRC32C, kind::NOOP, kind::AWS].into_iter().collect();
        let drop: KindSet = [kind::AWS].into_iter().collect();
        let only = TlvPolicy { pass: Pass::Only(listed), drop, ..TlvPolicy::NONE };
        let passed: Vec<u8> = (0..=u8::MAX).filter(|kind| only.passes(*kind)).collect();
        assert_eq!(passed, [kind::ALPN]);

        let all = TlvPolicy { pass: Pass::All, drop, ..TlvPolicy::NONE };
        let held: Vec<u8> = (0..=u8::MAX).filter(|kind| !all.passes(*kind)).collect();
        assert_eq!(held, [kind::CRC32C, kind::NOOP, kind::AWS]);
    }

    #[test]
    fn pp42_only_custom_kinds_can_be_made_up() {
        for kind in 0..=u8::MAX {
            let made = CustomTlv::new(kind, Vec::new()).is_ok();
            assert_eq!(made, kind >> 4 == 0xE, "{kind:#04x}");
        }
        assert!(CustomTlv::new(0xE5, vec![0; CustomTlv::MAX_VALUE]).is_ok());
        assert_eq!(CustomTlv::new(0xE5, vec![0; 65_533]), Err(CustomTlvError::Length(65_533)));
        let error = CustomTlv::new(0x05, Vec::new()).unwrap_err().to_string();
        assert_eq!(error, "TLV type 0x05 is not for custom use; take one from 0xe0 to 0xef");
    }
}
