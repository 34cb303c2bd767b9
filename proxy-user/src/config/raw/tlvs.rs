//! The options about TLVs, some of which a file and a flag write differently.

use std::collections::BTreeMap;
use std::fmt;

use clap::Args;
use schemars::JsonSchema;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_saphyr::Spanned;

use crate::config::value::RawValue;

/// What becomes of TLVs, in v2.
#[derive(Args, Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RawTlvs {
    /// TLVs of the inbound header that are passed on, in their order: all, none, or types such as 0xEA
    /// [default: all].
    #[arg(long = "tlv-pass", value_name = "all|none|TYPE", value_delimiter = ',')]
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OneOrMany")]
    pub pass: Option<Vec<RawValue>>,

    /// TLVs of the inbound header that are not passed on, by type.
    #[arg(long = "tlv-drop", value_name = "TYPE", value_delimiter = ',')]
    pub drop: Vec<RawValue>,

    /// TLVs to add: unique-id, authority=NAME, or a type from 0xE0 to 0xEF with its value, 0xE5=text or
    /// 0xE5=hex:00ff. In a file this is a map: {uniqueId: true, authority: NAME, 0xE5: text}.
    ///
    /// A unique id or an authority of ours replaces the one that came in, since receivers read the first.
    #[arg(long = "tlv-add", value_name = "TLV")]
    #[serde(deserialize_with = "added")]
    #[schemars(with = "BTreeMap<String, BoolOrText>")]
    pub add: Vec<RawAdded>,

    /// Write a checksum (CRC32C). One that came in is verified, and never passed on.
    #[arg(long = "tlv-crc32c")]
    pub crc32c: bool,
}

/// A list, or a value alone. (serde's own way to read either loses where the values stand.)
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
enum OneOrMany {
    One(String),
    Many(Vec<RawValue>),
}

/// For the schema only.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[allow(dead_code, reason = "only its schema is used")]
enum BoolOrText {
    Bool(bool),
    Text(String),
}

/// A list of values, or one value alone.
fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<RawValue>>, D::Error> {
    let Spanned { value, referenced, .. } = Spanned::<OneOrMany>::deserialize(deserializer)?;
    Ok(Some(match value {
        OneOrMany::One(text) => vec![RawValue::at(text, referenced)],
        OneOrMany::Many(values) => values,
    }))
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyOfThem;

        impl<'de> Visitor<'de> for AnyOfThem {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("all, none, or a list of TLV types")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, kind: u64) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(kind.to_string()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = items.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany::Many(values))
            }
        }

        deserializer.deserialize_any(AnyOfThem)
    }
}

/// A TLV to add.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct RawAdded {
    /// All of it, as it was written.
    pub written: RawValue,
    /// `uniqueId`, `authority`, or a type.
    #[serde(skip)]
    pub key: String,
    /// Its value.
    #[serde(skip)]
    pub value: String,
}

/// A flag's value: `unique-id`, or a type, `=` and its value.
impl From<&str> for RawAdded {
    fn from(flag: &str) -> Self {
        let (key, value) = match flag.split_once('=') {
            Some((kind, value)) => (kind, value),
            None if flag == "unique-id" => ("uniqueId", "true"),
            None => (flag, ""),
        };
        Self { written: flag.into(), key: key.to_owned(), value: value.to_owned() }
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
            while let Some((key, value)) = map.next_entry::<String, RawValue>()? {
                let written = value.with_text(format!("{key}: {value}"));
                entries.push(RawAdded { written, key, value: value.to_string() });
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_map(Entries)
}
