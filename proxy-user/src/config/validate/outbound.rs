//! What the upstream is told: the header's version and its TLVs.

use super::{Invalid, refuse};
use crate::config::raw::RawAttach;
use crate::config::settings::Outbound;
use crate::header::{CustomTlv, KindSet, Pass, TlvPolicy, Version};

pub(super) fn outbound(raw: &RawAttach) -> Result<Outbound, Invalid> {
    let version = match raw.outbound.as_str() {
        "v1" => Some(Version::V1),
        "v2" => Some(Version::V2),
        "none" => None,
        other => return Err(refuse("--outbound", other, "write v1, v2 or none")),
    };
    let (mut tlvs, unique_id) = tlvs(raw)?;
    if version != Some(Version::V2) {
        refuse_tlvs(raw)?;
        tlvs = TlvPolicy::NONE;
    }
    Ok(Outbound { version, tlvs, unique_id })
}

/// TLVs that are asked for and can't be written are a mistake.
fn refuse_tlvs(raw: &RawAttach) -> Result<(), Invalid> {
    let asked = [("--tlv-drop", &raw.tlv_drop), ("--tlv-add", &raw.tlv_add)];
    let fix = "leave it out, or write --outbound v2: no other version has TLVs";
    for (field, words) in asked {
        if let Some(word) = words.first() {
            return Err(refuse(field, word, fix));
        }
    }
    if raw.tlv_crc32c { Err(refuse("--tlv-crc32c", "true", fix)) } else { Ok(()) }
}

fn tlvs(raw: &RawAttach) -> Result<(TlvPolicy, bool), Invalid> {
    let mut policy = TlvPolicy {
        pass: pass(&raw.tlv_pass)?,
        drop: kinds("--tlv-drop", &raw.tlv_drop)?,
        crc32c: raw.tlv_crc32c,
        ..TlvPolicy::NONE
    };
    let mut unique_id = false;
    for word in &raw.tlv_add {
        match word.split_once('=') {
            None if word == "unique-id" => unique_id = true,
            Some(("authority", name)) if !name.is_empty() => {
                policy.authority = Some(name.to_owned());
            }
            Some((kind, value)) => policy.custom.push(custom(word, kind, value)?),
            None => {
                let fix = "write unique-id, authority=NAME, 0xE5=text or 0xE5=hex:00ff";
                return Err(refuse("--tlv-add", word, fix));
            }
        }
    }
    Ok((policy, unique_id))
}

fn pass(words: &[String]) -> Result<Pass, Invalid> {
    match words {
        [word] if word == "all" => Ok(Pass::All),
        [word] if word == "none" => Ok(Pass::None),
        _ => Ok(Pass::Only(kinds("--tlv-pass", words)?)),
    }
}

fn kinds(field: &'static str, words: &[String]) -> Result<KindSet, Invalid> {
    let kind = |word: &String| {
        parse_kind(word).ok_or_else(|| refuse(field, word, "write TLV types such as 0xEA"))
    };
    words.iter().map(kind).collect()
}

/// A TLV type in hexadecimal with `0x`, or in decimal.
fn parse_kind(word: &str) -> Option<u8> {
    match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(hex) => u8::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

fn custom(word: &str, kind: &str, value: &str) -> Result<CustomTlv, Invalid> {
    let invalid = |fix: String| refuse("--tlv-add", word, fix);
    let kind = parse_kind(kind).ok_or_else(|| {
        invalid("name a custom type from 0xE0 to 0xEF, such as 0xE5=text".to_owned())
    })?;
    let value = match value.strip_prefix("hex:") {
        Some(hex) => {
            octets(hex).ok_or_else(|| invalid("write pairs of digits after hex:".to_owned()))?
        }
        None => value.as_bytes().to_vec(),
    };
    CustomTlv::new(kind, value).map_err(|error| invalid(error.to_string()))
}

/// Octets from pairs of hexadecimal digits.
fn octets(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
