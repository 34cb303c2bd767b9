//! TLVs, of which some are written in more than one way.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::defaults;
use crate::config::word::Word;

/// What becomes of TLVs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawTlvs {
    /// TLVs of the inbound header that are passed on: all, none, or a list of types.
    #[serde(default)]
    #[schemars(with = "OneOrMany")]
    pub pass: RawPass,
    /// TLVs that are not, by type.
    #[serde(default)]
    pub drop: Vec<Word>,
    /// TLVs of our own: "uniqueId: true", "authority: NAME", or a type from 0xE0 to 0xEF and its
    /// text, or "hex:" and digits.
    #[serde(default, deserialize_with = "added")]
    #[schemars(with = "BTreeMap<String, BoolOrText>")]
    pub add: Vec<RawAdded>,
    /// Whether a checksum is written.
    #[serde(default)]
    pub crc32c: bool,
}

/// For the schema only.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[allow(dead_code, reason = "it is a shape")]
enum OneOrMany {
    One(Word),
    Many(Vec<Word>),
}

/// For the schema only.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[allow(dead_code, reason = "it is a shape")]
enum BoolOrText {
    Bool(bool),
    Text(String),
}

/// The words of a list, one of which may stand alone.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct RawPass(pub Vec<Word>);

impl Default for RawPass {
    fn default() -> Self {
        Self(vec![defaults::TLV_PASS.into()])
    }
}

impl<'de> Deserialize<'de> for RawPass {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl<'de> Visitor<'de> for Words {
            type Value = RawPass;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("all, none, or a list of TLV types")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawPass, E> {
                Ok(RawPass(vec![text.into()]))
            }

            fn visit_u64<E: Error>(self, kind: u64) -> Result<RawPass, E> {
                Ok(RawPass(vec![kind.to_string().into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawPass, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = items.next_element()? {
                    words.push(word);
                }
                Ok(RawPass(words))
            }
        }

        deserializer.deserialize_any(Words)
    }
}

/// A TLV to add.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct RawAdded {
    /// All of it, as it was written.
    pub written: Word,
    /// `uniqueId`, `authority`, or a type.
    #[serde(skip)]
    pub key: String,
    /// What it is to be.
    #[serde(skip)]
    pub value: String,
}

impl RawAdded {
    /// A flag's word: `unique-id`, or what it is and `=`.
    pub fn from_flag(word: &str) -> Self {
        let (key, value) = match word.split_once('=') {
            Some((kind, value)) => (kind, value),
            None if word == "unique-id" => ("uniqueId", "true"),
            None => (word, ""),
        };
        Self { written: word.into(), key: key.to_owned(), value: value.to_owned() }
    }
}

fn added<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RawAdded>, D::Error> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<RawAdded>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("TLVs to add, such as `uniqueId: true`")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some((key, value)) = map.next_entry::<String, Word>()? {
                let written = value.like(format!("{key}: {value}"));
                entries.push(RawAdded { written, key, value: value.to_string() });
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_map(Entries)
}
