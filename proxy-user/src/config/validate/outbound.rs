//! What the upstream is told: the header's version and its TLVs.

use super::Invalid;
use crate::config::field::{self, At, Field};
use crate::config::raw::{RawAdded, RawOutbound, RawTlvs};
use crate::config::settings::{LocalAs, Outbound};
use crate::config::word::Word;
use crate::header::{CustomTlv, KindSet, Pass, TlvPolicy, Version};

pub(super) fn outbound(at: At<'_>, raw: &RawOutbound) -> Result<Outbound, Invalid> {
    let version = match &*raw.version {
        "v1" => Some(Version::V1),
        "v2" => Some(Version::V2),
        "none" => None,
        _ => return Err(at.refuse(field::OUTBOUND, &raw.version, "write v1, v2 or none")),
    };
    let (mut tlvs, unique_id) = tlvs(at, &raw.tlvs)?;
    if version != Some(Version::V2) {
        refuse_tlvs(at, &raw.tlvs)?;
        tlvs = TlvPolicy::NONE;
    }
    let local = local(at, &raw.local, version)?;
    let outbound = Outbound { version, tlvs, unique_id, local };
    if let (Err(error), Some(added)) = (outbound.own_length(), raw.tlvs.add.last()) {
        return Err(at.refuse(field::TLV_ADD, &added.written, error.to_string()));
    }
    Ok(outbound)
}

fn local(at: At<'_>, word: &Word, version: Option<Version>) -> Result<LocalAs, Invalid> {
    match (&**word, version) {
        ("as-is", _) => Ok(LocalAs::AsIs),
        ("proxy", Some(_)) => Ok(LocalAs::Proxy),
        ("proxy", None) => {
            let v2 = at.write(field::OUTBOUND, "v2");
            let fix = format!("leave it out, or write {v2}: no header is written");
            Err(at.refuse(field::OUTBOUND_LOCAL, word, fix))
        }
        _ => Err(at.refuse(field::OUTBOUND_LOCAL, word, "write as-is or proxy")),
    }
}

/// TLVs that are asked for and can't be written are a mistake.
fn refuse_tlvs(at: At<'_>, raw: &RawTlvs) -> Result<(), Invalid> {
    let v2 = at.write(field::OUTBOUND, "v2");
    let fix = format!("leave it out, or write {v2}: no other version has TLVs");
    if let Some(word) = raw.drop.first() {
        return Err(at.refuse(field::TLV_DROP, word, fix));
    }
    if let Some(added) = raw.add.first() {
        return Err(at.refuse(field::TLV_ADD, &added.written, fix));
    }
    if raw.crc32c { Err(at.refuse(field::TLV_CRC32C, &"true".into(), fix)) } else { Ok(()) }
}

fn tlvs(at: At<'_>, raw: &RawTlvs) -> Result<(TlvPolicy, bool), Invalid> {
    let mut policy = TlvPolicy {
        pass: pass(at, &raw.pass.0)?,
        drop: kinds(at, field::TLV_DROP, &raw.drop)?,
        crc32c: raw.crc32c,
        ..TlvPolicy::NONE
    };
    let mut unique_id = false;
    for RawAdded { written, key, value } in &raw.add {
        match (key.as_str(), value.as_str()) {
            ("uniqueId", "true") => unique_id = true,
            ("uniqueId", "false") => unique_id = false,
            ("authority", name) if !name.is_empty() && !name.contains(char::is_control) => {
                policy.authority = Some(name.to_owned());
            }
            ("authority" | "uniqueId", _) | (_, "") => {
                let fix = match at {
                    At::Flags => "write unique-id, authority=NAME, 0xE5=text or 0xE5=hex:00ff",
                    At::File | At::Rule(_) => {
                        "write uniqueId: true, authority: NAME, 0xE5: text or 0xE5: hex:00ff"
                    }
                };
                return Err(at.refuse(field::TLV_ADD, written, fix));
            }
            (kind, value) => policy.custom.push(custom(at, written, kind, value)?),
        }
    }
    Ok((policy, unique_id))
}

fn pass(at: At<'_>, words: &[Word]) -> Result<Pass, Invalid> {
    match words {
        [word] if &**word == "all" => Ok(Pass::All),
        [word] if &**word == "none" => Ok(Pass::None),
        _ => Ok(Pass::Only(kinds(at, field::TLV_PASS, words)?)),
    }
}

fn kinds(at: At<'_>, field: Field, words: &[Word]) -> Result<KindSet, Invalid> {
    let kind = |word: &Word| {
        parse_kind(word).ok_or_else(|| at.refuse(field, word, "write TLV types such as 0xEA"))
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

fn custom(at: At<'_>, written: &Word, kind: &str, value: &str) -> Result<CustomTlv, Invalid> {
    let invalid = |fix: String| at.refuse(field::TLV_ADD, written, fix);
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
