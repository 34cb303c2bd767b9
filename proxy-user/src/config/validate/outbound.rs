//! What the upstream is told: the header's version and its TLVs.

use super::scope::Scope;
use crate::config::field::{Field, Syntax, field};
use crate::config::invalid::Invalid;
use crate::config::raw::{OutboundHeader, RawAdded, RawOutbound, RawTlvs};
use crate::config::settings::{LocalAs, Outbound};
use crate::config::value::RawValue;
use crate::header::{CustomTlv, KindSet, Pass, TlvPolicy, Version};

pub(super) fn outbound(scope: Scope<'_>, raw: &RawOutbound) -> Result<Outbound, Invalid> {
    let header = scope.required_choice(field!(rule.outbound.version), raw.version.as_ref())?;
    let version = match header {
        OutboundHeader::V1 => Some(Version::V1),
        OutboundHeader::V2 => Some(Version::V2),
        OutboundHeader::None => None,
    };
    let (mut tlvs, unique_id) = tlvs(scope, &raw.tlvs)?;
    if version != Some(Version::V2) {
        refuse_tlvs(scope, &raw.tlvs)?;
        tlvs = TlvPolicy::NONE;
    }
    let local = local(scope, &raw.local, version)?;
    let outbound = Outbound { version, tlvs, unique_id, local };
    if let (Err(error), Some(added)) = (outbound.own_length(), raw.tlvs.add.last()) {
        return Err(scope.refuse(
            field!(rule.outbound.tlvs.add),
            &added.written,
            error.to_string(),
        ));
    }
    Ok(outbound)
}

fn local(scope: Scope<'_>, value: &RawValue, version: Option<Version>) -> Result<LocalAs, Invalid> {
    let local = scope.choice(field!(rule.outbound.local), value)?;
    if local == LocalAs::Proxy && version.is_none() {
        let v2 = scope.write(field!(rule.outbound.version), "v2");
        let fix = format!("leave it out, or write {v2}: no header is written");
        return Err(scope.refuse(field!(rule.outbound.local), value, fix));
    }
    Ok(local)
}

/// TLVs that are asked for and can't be written are a mistake.
fn refuse_tlvs(scope: Scope<'_>, raw: &RawTlvs) -> Result<(), Invalid> {
    let refuse = |field, value: &RawValue| {
        let v2 = scope.write(field!(rule.outbound.version), "v2");
        let fix = format!("leave it out, or write {v2}: no other version has TLVs");
        Err(scope.refuse(field, value, fix))
    };
    if let Some(value) = raw.pass.as_ref().and_then(|types| types.first()) {
        return refuse(field!(rule.outbound.tlvs.pass), value);
    }
    if let Some(value) = raw.drop.first() {
        return refuse(field!(rule.outbound.tlvs.drop), value);
    }
    if let Some(added) = raw.add.first() {
        return refuse(field!(rule.outbound.tlvs.add), &added.written);
    }
    if raw.crc32c { refuse(field!(rule.outbound.tlvs.crc32c), &"true".into()) } else { Ok(()) }
}

fn tlvs(scope: Scope<'_>, raw: &RawTlvs) -> Result<(TlvPolicy, bool), Invalid> {
    let mut policy = TlvPolicy {
        pass: raw.pass.as_ref().map_or(Ok(Pass::All), |types| pass(scope, types))?,
        drop: kinds(scope, field!(rule.outbound.tlvs.drop), &raw.drop)?,
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
                let fix = match scope.syntax() {
                    Syntax::Flags => "write unique-id, authority=NAME, 0xE5=text or 0xE5=hex:00ff",
                    Syntax::File => {
                        "write uniqueId: true, authority: NAME, 0xE5: text or 0xE5: hex:00ff"
                    }
                };
                return Err(scope.refuse(field!(rule.outbound.tlvs.add), written, fix));
            }
            (kind, value) => policy.custom.push(custom(scope, written, kind, value)?),
        }
    }
    Ok((policy, unique_id))
}

fn pass(scope: Scope<'_>, types: &[RawValue]) -> Result<Pass, Invalid> {
    match types {
        [word] if &**word == "all" => Ok(Pass::All),
        [word] if &**word == "none" => Ok(Pass::None),
        _ => Ok(Pass::Only(kinds(scope, field!(rule.outbound.tlvs.pass), types)?)),
    }
}

fn kinds(scope: Scope<'_>, field: Field, types: &[RawValue]) -> Result<KindSet, Invalid> {
    let kind = |word: &RawValue| {
        parse_kind(word).ok_or_else(|| scope.refuse(field, word, "write TLV types such as 0xEA"))
    };
    types.iter().map(kind).collect()
}

/// A TLV type in hexadecimal with `0x`, or in decimal.
fn parse_kind(word: &str) -> Option<u8> {
    match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(hex) => u8::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

fn custom(
    scope: Scope<'_>,
    written: &RawValue,
    kind: &str,
    value: &str,
) -> Result<CustomTlv, Invalid> {
    let invalid = |fix: String| scope.refuse(field!(rule.outbound.tlvs.add), written, fix);
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
